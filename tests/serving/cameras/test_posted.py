"""`POST /pose?camera_id=...`: the pictures of a camera, posted one by one."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from tests.serving.cameras.conftest import GatedEngine
from tests.serving.cameras.test_connections import until
from tests.serving.cameras.test_stream import HIGH, WIDE


def post(client: TestClient, picture: bytes, **options: Any):
    return client.post(
        "/pose", content=picture, headers={"Content-Type": "image/jpeg"}, params=options
    )


def test_a_waiting_picture_is_superseded_by_a_newer_one(
    cameras_client: TestClient, gated: GatedEngine
):
    gated.close_for(640)
    with ThreadPoolExecutor(3) as pool:
        working = pool.submit(post, cameras_client, WIDE, camera_id="gate")
        assert gated.entered.wait(10)
        others = {pool.submit(post, cameras_client, WIDE, camera_id="gate") for _ in range(2)}
        (older,), (newer,) = wait(others, 10, FIRST_COMPLETED)
        gated.open()
        assert older.result().status_code == 409
        assert older.result().json()["type"] == "urn:farpose:problem:superseded"
        assert working.result(30).status_code == 200
        assert newer.result(30).status_code == 200


def test_an_older_picture_that_comes_late_takes_no_newer_ones_place(
    repository: Path, gated: GatedEngine
):
    app = create_app(Settings(repository=repository), engine=gated)
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:

        def pose(timestamp: float):
            return post(client, WIDE, camera_id="gate", timestamp=timestamp)

        gated.close_for(640)
        working = pool.submit(pose, 2)
        assert gated.entered.wait(10)
        waiting = pool.submit(pose, 3)
        assert until(lambda: app.state.service.admission.places == 2)
        late = pose(1)
        gated.open()
        assert (late.status_code, late.json()["type"]) == (409, "urn:farpose:problem:superseded")
        assert working.result(30).status_code == 200
        assert waiting.result(30).status_code == 200


def test_a_picture_that_waits_behind_other_callers_gives_way_to_a_newer_one(
    repository: Path, gated: GatedEngine
):
    settings = Settings(repository=repository, max_running=1)
    with (
        TestClient(create_app(settings, engine=gated)) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        admission = client.app.state.service.admission
        gated.close_for(640)
        others = pool.submit(post, client, WIDE)
        assert gated.entered.wait(10)
        older = pool.submit(post, client, WIDE, camera_id="gate", timestamp=1)
        assert until(lambda: admission.waiting == 1)
        newer = pool.submit(post, client, WIDE, camera_id="gate", timestamp=2)
        try:
            superseded = older.result(10)  # while the other caller's is still in work
        finally:
            gated.open()
        assert superseded.status_code == 409
        assert superseded.json()["type"] == "urn:farpose:problem:superseded"
        assert others.result(30).status_code == 200
        assert newer.result(30).status_code == 200
        assert (admission.places, admission.running, admission.waiting) == (0, 0, 0)


def test_an_old_picture_is_refused(cameras_client: TestClient):
    assert post(cameras_client, WIDE, camera_id="yard", timestamp=10).status_code == 200
    assert post(cameras_client, WIDE, camera_id="yard", timestamp=11).status_code == 200
    problem = post(cameras_client, WIDE, camera_id="yard", timestamp=10.5)
    assert (problem.status_code, problem.json()["type"]) == (409, "urn:farpose:problem:stale-frame")
    problem = post(cameras_client, WIDE, camera_id="yard")
    assert (problem.status_code, "came with one" in problem.json()["detail"]) == (422, True)


def test_a_broken_picture_does_not_end_a_session(cameras_client: TestClient):
    assert post(cameras_client, HIGH, camera_id="door").status_code == 200
    assert post(cameras_client, HIGH[:50], camera_id="door").status_code == 400
    assert post(cameras_client, HIGH, camera_id="door").status_code == 200


@pytest.mark.parametrize("engine", ["triton", "triton-pipeline"])
def test_several_workers_refuse_posted_cameras_and_say_what_works(engine: str, repository: Path):
    settings = Settings(repository=repository, workers=2, engine=engine, triton_url="localhost:1")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        problem = post(client, WIDE, camera_id="gate")
        assert problem.status_code == 409
        assert "WS /stream" in problem.json()["detail"]
        assert post(client, WIDE).status_code == 503
