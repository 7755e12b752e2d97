"""The log: a line per request under its id, whole tracebacks, and nothing that callers sent."""

from __future__ import annotations

import io
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from websockets.sync.client import connect

from farpose.engine import EngineError, EngineUnavailableError
from farpose_serving.access import hashed, new_key
from farpose_serving.app import create_app
from farpose_serving.logs import log_handler
from farpose_serving.settings import Settings
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.cameras.test_connections import served
from tests.serving.conftest import RecordingEngine
from tests.serving.encoded import encode, gradient
from tests.serving.test_command import FARPOSE

WIDE = encode(gradient(96, 64), ".jpg")
SECRET = "hush-hush"  # noqa: S105


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler for JSON writes while the test runs."""
    text = io.StringIO()
    handler = log_handler("json", text)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield text
    root.setLevel(before)
    root.removeHandler(handler)


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def post(url: str, body: bytes, identifier: str, **headers: str) -> int:
    sent = {"Content-Type": "image/jpeg", "X-Request-ID": identifier, **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_failure_is_one_line_with_its_traceback_under_the_callers_id(
    repository: Path, recording: RecordingEngine, written: io.StringIO
):
    app = create_app(Settings(repository=repository), engine=recording)
    with served(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        recording.failure = EngineError("the graph is broken")
        try:
            assert post(f"{url}/pose", WIDE, "bad-1") == 500
        finally:
            recording.failure = None
        assert post(f"{url}/pose", WIDE, "good-1") == 200
    lines = lines_of(written.getvalue())
    (failure,) = [line for line in lines if "traceback" in line]
    assert failure["request_id"] == "bad-1"
    assert failure["level"] == "ERROR"
    assert "EngineError: the graph is broken" in failure["traceback"]
    assert "in find_people" in failure["traceback"]
    (request,) = [line for line in lines if line.get("status") == 500]
    assert (request["request_id"], request["route"]) == ("bad-1", "/pose")
    assert {line["level"] for line in lines if line["request_id"] == "good-1"} == {"INFO"}


def test_what_is_logged_within_a_request_has_its_id_however_many_there_are(
    repository: Path, recording: RecordingEngine, written: io.StringIO
):
    app = create_app(Settings(repository=repository), engine=recording)
    with served(app) as server, ThreadPoolExecutor(8) as pool:
        url = f"http://127.0.0.1:{server.port}"
        recording.failure = EngineUnavailableError("away")
        try:
            # Each body has a length of its own, so that lines and ids can be matched.
            jobs = [
                pool.submit(post, f"{url}/pose", WIDE + bytes(i), f"job-{i}") for i in range(24)
            ]
            assert {job.result() for job in jobs} == {503}
        finally:
            recording.failure = None
    lines = lines_of(written.getvalue())
    requests = {line["request_id"]: line for line in lines if line["logger"] == "farpose.requests"}
    assert requests.keys() == {f"job-{i}" for i in range(24)}
    for i in range(24):
        assert requests[f"job-{i}"]["bytes_received"] == len(WIDE) + i
    warnings = [line for line in lines if line["level"] == "WARNING"]
    assert len(warnings) == 24
    for line in warnings:
        assert line["message"].startswith(f"request {line['request_id']} was not answered")


def test_a_stream_is_one_line_and_its_failures_have_the_ids_of_their_pictures(
    repository: Path, recording: RecordingEngine, written: io.StringIO
):
    app = create_app(Settings(repository=repository), engine=recording)
    with served(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        headers = {"X-Request-ID": "cam-1"}
        with connect(f"{url.replace('http', 'ws')}/stream", additional_headers=headers) as camera:
            assert camera.response.headers["X-Request-ID"] == "cam-1"
            recording.failure = EngineError("the graph is broken")
            try:
                camera.send(WIDE)
                assert json.loads(camera.recv(30))["status"] == 500
            finally:
                recording.failure = None
            camera.send(WIDE)
            assert json.loads(camera.recv(30))["id"] == "cam-1-1"
    lines = lines_of(written.getvalue())
    (failure,) = [line for line in lines if "traceback" in line]
    assert failure["request_id"] == "cam-1-0"
    (line,) = [line for line in lines if line["logger"] == "farpose.requests"]
    assert (line["request_id"], line["method"], line["route"]) == ("cam-1", "WS", "/stream")
    assert (line["status"], line["messages_received"]) == (1000, 2)
    assert line["bytes_received"] == 2 * len(WIDE)
    assert not [line for line in lines if "connection" in line["message"]]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_a_caller_keeps_secret_is_logged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    log_format: str,
):
    key = new_key()
    keys = tmp_path / "keys"
    keys.write_text(f"gate:{hashed(key)}\n")
    monkeypatch.setenv("FARPOSE_LOG_FORMAT", log_format)
    monkeypatch.setenv("FARPOSE_API_KEYS_FILE", str(keys))
    with Service(FARPOSE, ROOT) as service:
        sockets = service.url.replace("http", "ws")
        assert post(f"{service.url}/pose", WIDE, "one", Authorization=f"Bearer {key}") == 200
        assert post(f"{service.url}/pose?token={SECRET}", WIDE, "two", **{"X-API-Key": key}) == 422
        assert post(f"{service.url}/{SECRET}/{SECRET}", WIDE, "three") == 404
        assert post(f"{service.url}/pose", WIDE, "four", **{"X-API-Key": SECRET}) == 401
        with connect(f"{sockets}/stream?api_key={SECRET}") as camera:
            camera.send(json.dumps({"api_key": key}))
            assert json.loads(camera.recv(30))["status"] == 422
        with connect(f"{sockets}/stream") as camera:
            camera.send(json.dumps({"api_key": key}))
            camera.send(json.dumps({SECRET: SECRET}))
            assert json.loads(camera.recv(30))["status"] == 422
            camera.send(WIDE)
            assert json.loads(camera.recv(30))["people"] == []
        assert post(f"{service.url}/pose", SECRET.encode(), "five", **{"X-API-Key": key}) == 400
    log = capfd.readouterr().err
    assert key not in log
    assert SECRET not in log
    shown = {"json": '"request_id": "{}"', "text": "[{}]"}[log_format]
    for identifier in ("one", "two", "three", "four", "five"):
        assert log.count(shown.format(identifier)) == 1


def test_json_has_a_time_with_its_zone_and_text_is_for_people(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    record = logging.LogRecord("farpose", logging.INFO, "", 1, "%d pictures", (3,), None)
    record.color_message = "\x1b[36m%d\x1b[0m pictures"
    text, lines = io.StringIO(), io.StringIO()
    log_handler("text", text).handle(record)
    log_handler("json", lines).handle(record)
    monkeypatch.undo()
    time.tzset()
    assert re.fullmatch(r"\d{4}-\S+ \S+ INFO \[-\] 3 pictures\n", text.getvalue())
    (line,) = lines_of(lines.getvalue())
    when = datetime.fromisoformat(line.pop("time"))
    assert when.utcoffset().total_seconds() == 0
    assert abs(when.timestamp() - record.created) < 0.002
    assert line == {
        "level": "INFO", "logger": "farpose", "message": "3 pictures", "request_id": "-"
    }  # fmt: skip
