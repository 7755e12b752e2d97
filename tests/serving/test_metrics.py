"""What Prometheus reads: stable names, right counts, and no more series than there should be."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.encoded import encode, gradient
from tests.serving.test_command import FARPOSE

WIDE = encode(gradient(96, 64), ".jpg")


@pytest.fixture
def client(repository: Path) -> Iterator[TestClient]:
    """An application of its own, whose counts start at nothing, with its own models."""
    app = create_app(Settings(repository=repository, threads=1, rate_limit="500/minute"))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def samples(client: TestClient) -> dict[str, float]:
    text = client.get("/metrics").text
    return {
        sample.name + str(dict(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float:
    return samples(client).get(name + str(dict(sorted(labels.items()))), 0.0)


def post(client: TestClient, picture: bytes = WIDE, path: str = "/pose", **more) -> int:
    headers = {"Content-Type": "image/jpeg", **more}
    return client.post(path, content=picture, headers=headers).status_code


def test_names_and_labels_are_these(client: TestClient):
    assert post(client) == 200
    assert post(client, path="/pose?camera_id=gate") == 200
    assert post(client, path="/pose?camera_id=gate&timestamp=1") == 422
    assert post(client, **{"X-Deadline-Ms": "1"}) in (200, 504)
    families = {
        family.name: sorted({key for s in family.samples for key in s.labels} - {"le"})
        for family in text_string_to_metric_families(client.get("/metrics").text)
        if family.name.startswith("farpose") and not family.name.endswith("_created")
    }
    assert families == {
        "farpose_request_duration_seconds": ["method", "route", "status"],
        "farpose_stage_duration_seconds": ["stage"],
        "farpose_people_per_frame": [],
        "farpose_batch_size": ["model"],
        "farpose_frame_age_seconds": [],
        "farpose_dropped_frames": ["reason"],
        "farpose_frames": ["detector", "source"],
        "farpose_queue_depth": [],
        "farpose_frames_running": [],
        "farpose_camera_sessions": [],
        "farpose_workers": [],
        "farpose_build_info": ["version"],
    }


def test_what_happened_is_counted(client: TestClient, bus: Path):
    assert post(client, bus.read_bytes()) == 200
    assert post(client) == 200
    assert post(client, b"no picture") == 400
    found = samples(client)
    request = "farpose_request_duration_seconds_count"
    for status, count in (("200", 2), ("400", 1)):
        labels = str({"method": "POST", "route": "/pose", "status": status})
        assert found[request + labels] == count
    assert found["farpose_people_per_frame_count{}"] == 2
    assert found["farpose_people_per_frame_sum{}"] >= 3
    assert found["farpose_frames_total{'detector': 'yes', 'source': 'picture'}"] == 2
    assert found["farpose_batch_size_sum{'model': 'person_detector'}"] == 3  # and the warm-up
    for stage in ("decode", "letterbox", "detector", "crop", "pose", "total"):
        count = found[f"farpose_stage_duration_seconds_count{{'stage': '{stage}'}}"]
        assert count == (1 if stage in ("crop", "pose") else 2)
    assert found["farpose_queue_depth{}"] == 0


def test_pictures_of_cameras_and_those_that_are_dropped_are_counted(client: TestClient):
    for _ in range(2):
        assert post(client, path="/pose?camera_id=yard&timestamp=5") in (200, 409)
    with client.websocket_connect("/stream") as camera:
        for _ in range(2):
            camera.send_bytes(WIDE)
            camera.receive_json()
        assert value(client, "farpose_camera_sessions") == 2
    frames = "farpose_frames_total"
    assert value(client, frames, source="camera", detector="yes") == 1
    assert value(client, frames, source="stream", detector="yes") == 1
    assert value(client, frames, source="stream", detector="no") == 1
    assert value(client, "farpose_dropped_frames_total", reason="stale") == 1
    assert value(client, "farpose_frame_age_seconds_count") == 3


def test_a_thousand_strange_names_make_no_series(repository: Path):
    def series() -> set[str]:
        return {name for name in samples(client) if name.startswith("farpose")}

    def ask(name: str) -> None:
        headers = {"X-Request-ID": name, "User-Agent": name}
        assert client.get(f"/{name}/../{name}?{name}={name}", headers=headers).status_code == 404
        assert client.get(f"/page/{name}", headers=headers).status_code == 404
        assert client.request(f"M{name}", "/pose", headers=headers).status_code == 405
        assert post(client, path=f"/pose?detector_size=128&camera_id={name}", **headers) == 200

    settings = Settings(repository=repository, threads=1, max_cameras=2000, camera_timeout=3600)
    with TestClient(create_app(settings)) as client:
        ask("first")
        series()  # asking counts too
        before = series()
        for i in range(1000):
            ask(f"strange-{i}")
        assert series() == before
        assert value(client, "farpose_camera_sessions") == 1001
        counted = "farpose_request_duration_seconds_count"
        assert value(client, counted, method="GET", route="other", status="404") == 1001
        assert value(client, counted, method="other", route="/pose", status="405") == 1001


def test_cameras_are_named_only_where_it_was_asked_for(repository: Path):
    settings = Settings(repository=repository, camera_labels=True)
    with (
        OnnxRuntimeEngine(repository) as engine,
        TestClient(create_app(settings, engine=engine)) as client,
    ):
        assert post(client, path="/pose?camera_id=gate") == 200
        assert value(client, "farpose_camera_frames_total", camera="gate") == 1


def test_logs_are_json_with_the_request_they_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FARPOSE_LOG_FORMAT", "json")
    with Service(FARPOSE, ROOT) as service:
        service.post(WIDE)
        request = urllib.request.Request(
            f"{service.url}/pose?max_people=3", WIDE,
            {"Content-Type": "image/jpeg", "X-Request-ID": "mine-1", "X-API-Key": "fp_secret"},
        )  # fmt: skip
        urllib.request.urlopen(request).read()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line]
    (line,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/pose", 200)
    assert line["bytes_received"] == len(WIDE)
    assert line["duration_ms"] > 0
    assert line["level"] == "INFO"
    assert re.match(r"\d{4}-\d\d-\d\d", line["time"])
    assert not any("fp_secret" in str(line) or "/health" in str(line) for line in lines)
