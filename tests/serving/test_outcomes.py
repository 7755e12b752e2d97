"""Counters after real requests: each way that one can end, and each way that a picture is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from farpose.engine import EngineError, EngineUnavailableError
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose_serving.access import hashed, new_key
from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from tests.serving.cameras.conftest import GatedEngine
from tests.serving.conftest import RecordingEngine
from tests.serving.encoded import encode, gradient, huge_png
from tests.serving.test_metrics import samples, value

WIDE = encode(gradient(96, 64), ".jpg")
JPEG = {"Content-Type": "image/jpeg"}
DROPPED = "farpose_dropped_frames_total"


@pytest.fixture(scope="module")
def gated(repository: Path) -> Iterator[GatedEngine]:
    with OnnxRuntimeEngine(repository, threads=1) as engine:
        yield GatedEngine(engine)


@contextmanager
def client_of(gated: GatedEngine, repository: Path, **settings) -> Iterator[TestClient]:
    """An application of its own, whose counts start at nothing."""
    app = create_app(Settings(repository=repository, **settings), engine=gated)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def drops(client: TestClient) -> dict[str, float]:
    """Reasons that pictures were dropped for, and how many."""
    found = {
        name.split("'")[3]: count
        for name, count in samples(client).items()
        if name.startswith(DROPPED)
    }
    return {reason: count for reason, count in found.items() if count}


@pytest.mark.parametrize(
    ("method", "path", "sent", "headers", "status", "route"),
    [
        # answered
        ("POST", "/pose", WIDE, JPEG, 200, "/pose"),
        ("GET", "/health/live", b"", {}, 200, "/health/live"),
        ("GET", "/page/main.js", b"", {}, 200, "/page/{name}"),
        # no picture
        ("POST", "/pose", b"no picture", JPEG, 400, "/pose"),
        # nothing there, and not with this method
        ("GET", "/nowhere", b"", {}, 404, "other"),
        ("GET", "/page/nothing.js", b"", {}, 404, "/page/{name}"),
        ("GET", "/pose", b"", {}, 405, "/pose"),
        # too many bytes, too many pixels
        ("POST", "/pose", bytes(200_001), JPEG, 413, "/pose"),
        ("POST", "/pose", huge_png(20_000), {"Content-Type": "image/png"}, 413, "/pose"),
        # another type, an option that is not there
        ("POST", "/pose", WIDE, {"Content-Type": "text/html"}, 415, "/pose"),
        ("POST", "/pose?colour=red", WIDE, JPEG, 422, "/pose"),
    ],
)
def test_a_request_is_counted_once_as_it_ended(
    gated: GatedEngine,
    repository: Path,
    method: str,
    path: str,
    sent: bytes,
    headers: dict[str, str],
    status: int,
    route: str,
):
    with client_of(gated, repository, max_body_bytes=200_000) as client:
        answer = client.request(method, path, content=sent, headers=headers)
        assert answer.status_code == status
        counts = {
            name: count
            for name, count in samples(client).items()
            if name.startswith("farpose_request_duration_seconds_count")
        }
        labels = {"method": method, "route": route, "status": str(status)}
        assert counts == {f"farpose_request_duration_seconds_count{labels}": 1}
        assert drops(client) == {}  # the service has lost none


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (EngineError("broken"), 500, "failed"),
        (EngineUnavailableError("away"), 503, "unavailable"),
    ],
)
def test_failures_of_the_service_are_counted_as_such(
    repository: Path, recording: RecordingEngine, failure: Exception, status: int, reason: str
):
    app = create_app(Settings(repository=repository), engine=recording)
    with TestClient(app, raise_server_exceptions=False) as client:
        recording.failure = failure
        try:
            assert client.post("/pose", content=WIDE, headers=JPEG).status_code == status
            assert drops(client) == {reason: 1}
            with client.websocket_connect("/stream") as camera:
                camera.send_bytes(WIDE)
                assert camera.receive_json()["status"] == status
            assert drops(client) == {reason: 2}
        finally:
            recording.failure = None
        labels = {"method": "POST", "route": "/pose", "status": str(status)}
        assert value(client, "farpose_request_duration_seconds_count", **labels) == 1
        assert value(client, "farpose_people_per_frame_count") == 0


def test_every_reason_is_there_before_a_picture_is_lost(gated: GatedEngine, repository: Path):
    with client_of(gated, repository) as client:
        found = {name: count for name, count in samples(client).items() if DROPPED in name}
    reasons = (
        "closed", "deadline", "failed", "newer", "overload", "rate", "stale", "unavailable"
    )  # fmt: skip
    assert found == {f"{DROPPED}{ {'reason': reason} }": 0 for reason in reasons}


def test_requests_without_a_key_or_too_many_are_counted(
    gated: GatedEngine, repository: Path, tmp_path: Path
):
    key = new_key()
    keys = tmp_path / "keys"
    keys.write_text(f"gate:{hashed(key)}\n")
    with client_of(gated, repository, api_keys_file=keys, rate_limit="1/minute") as client:
        assert client.post("/pose", content=WIDE, headers=JPEG).status_code == 401
        headers = {**JPEG, "X-API-Key": key}
        found = [client.post("/pose", content=WIDE, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in found] == [200, 429]
        client.headers["X-API-Key"] = key  # for /metrics
        for status in ("200", "401", "429"):
            labels = {"method": "POST", "route": "/pose", "status": status}
            assert value(client, "farpose_request_duration_seconds_count", **labels) == 1
        assert drops(client) == {"rate": 1}


def test_work_queue_overload_and_deadline_are_seen(gated: GatedEngine, repository: Path):
    with (
        client_of(gated, repository, max_running=1, max_waiting=1) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        gated.close_for(640)
        try:
            first = pool.submit(client.post, "/pose", content=WIDE, headers=JPEG)
            assert gated.entered.wait(10)
            assert value(client, "farpose_frames_running") == 1
            assert value(client, "farpose_queue_depth") == 0
            late = {**JPEG, "X-Deadline-Ms": "3000"}
            second = pool.submit(client.post, "/pose", content=WIDE, headers=late)
            assert until(lambda: value(client, "farpose_queue_depth") == 1)
            assert client.post("/pose", content=WIDE, headers=JPEG).status_code == 503
            assert drops(client) == {"overload": 1}
            assert second.result(20).status_code == 504
            assert drops(client) == {"overload": 1, "deadline": 1}
        finally:
            gated.open()
        assert first.result(20).status_code == 200
        assert value(client, "farpose_frames_running") == 0
        assert value(client, "farpose_queue_depth") == 0
        assert value(client, "farpose_frames_total", source="picture", detector="yes") == 1


def test_pictures_of_a_stream_that_are_never_answered_are_counted(
    gated: GatedEngine, repository: Path
):
    with client_of(gated, repository) as client:
        gated.close_for(640)
        try:
            with client.websocket_connect("/stream") as camera:
                camera.send_bytes(WIDE)
                assert gated.entered.wait(10)
                for _ in range(3):
                    camera.send_bytes(WIDE)
                # One is in work, the last one waits, two gave way to newer ones.
                assert until(lambda: drops(client) == {"newer": 2})
                assert value(client, "farpose_camera_sessions") == 1
            assert until(lambda: drops(client) == {"newer": 2, "closed": 2})
        finally:
            gated.open()
        assert value(client, "farpose_camera_sessions") == 0
        assert value(client, "farpose_frame_age_seconds_count") == 0


def test_a_stream_whose_pictures_are_all_answered_has_lost_none(
    gated: GatedEngine, repository: Path
):
    with client_of(gated, repository) as client:
        with client.websocket_connect("/stream") as camera:
            for sent in (WIDE, b"no picture", WIDE):
                camera.send_bytes(sent)
                camera.receive_json()
        assert until(lambda: value(client, "farpose_camera_sessions") == 0)
        assert drops(client) == {}
        assert value(client, "farpose_frame_age_seconds_count") == 2
