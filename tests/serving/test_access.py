"""API keys: asked for where there are any, kept as hashes, needed for what shows anything."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from farpose_serving.access import Keys, KeysError, hashed, new_key
from farpose_serving.app import create_app
from farpose_serving.service import MAX_STRANGERS
from farpose_serving.settings import Settings
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.conftest import RecordingEngine
from tests.serving.test_command import FARPOSE

KEYS = {"gate": new_key(), "yard": new_key()}


HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(scope="module")
def locked(
    repository: Path, recording: RecordingEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    lines = [f"{name}:{hashed(key)}" for name, key in KEYS.items()]
    path.write_text("# who may call\n\n" + "  # and since when\n".join(lines) + "\n")
    settings = Settings(repository=repository, api_keys_file=path)
    with TestClient(create_app(settings, engine=recording)) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEYS['gate']}"},
        {"Authorization": f"bearer {KEYS['yard']}"},
        {"X-API-Key": KEYS["yard"]},
    ],
)
def test_a_key_opens_either_way(locked: TestClient, small_jpeg: bytes, headers: dict[str, str]):
    assert locked.get("/models", headers=headers).status_code == 200
    headers = {**headers, "Content-Type": "image/jpeg"}
    assert locked.post("/pose", content=small_jpeg, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "is missing"),
        ({"Authorization": "Bearer"}, "is missing"),
        ({"Authorization": "Basic Z2F0ZTpnYXRl"}, "is missing"),  # not our scheme
        ({"X-API-Key": "fp_wrong"}, "is not known"),
        ({"X-API-Key": hashed(KEYS["gate"])}, "is not known"),  # who reads the file has no key
        ({"X-API-Key": KEYS["gate"][:-1]}, "is not known"),
        ({"Authorization": f"Bearer {KEYS['gate']} "[:-5]}, "is not known"),
    ],
)
def test_without_a_key_nothing_is_read_and_the_answer_says_how_to_send_one(
    locked: TestClient, recording: RecordingEngine, headers: dict[str, str], words: str
):
    before = len(recording.calls)
    for answer in (
        locked.get("/models", headers=headers),
        locked.post("/pose", content=b"x" * 100, headers={**headers, "Content-Type": "image/jpeg"}),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert words in answer.json()["detail"]
        assert "Authorization: Bearer KEY" in answer.json()["detail"]
    assert len(recording.calls) == before


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_whether_it_is_well_and_how_to_call_it_is_no_secret(locked: TestClient, path: str):
    assert locked.get(path).status_code == 200


def test_a_stream_takes_the_key_as_a_header_or_as_its_first_message(
    locked: TestClient, small_jpeg: bytes
):
    with locked.websocket_connect("/stream", headers={"X-API-Key": KEYS["gate"]}) as camera:
        camera.send_bytes(small_jpeg)
        assert camera.receive_json()["frame"] == 0
    with locked.websocket_connect("/stream") as camera:
        camera.send_json({"api_key": KEYS["gate"]})
        camera.send_bytes(small_jpeg)
        assert camera.receive_json()["frame"] == 0


@pytest.mark.parametrize(
    "first",
    [
        '{"api_key": "fp_wrong"}',
        "{}",
        "[",
        '{"api_key": 1}',
        r'{"api_key": "\ud800"}',  # half a character, which has no UTF-8
        None,
    ],
)
def test_a_stream_without_a_key_is_closed(locked: TestClient, small_jpeg: bytes, first: str | None):
    with locked.websocket_connect("/stream") as camera:
        camera.send_bytes(small_jpeg) if first is None else camera.send_text(first)
        assert camera.receive_json()["status"] == 401
        with pytest.raises(WebSocketDisconnect) as closed:
            camera.receive_json()
        assert closed.value.code == 1008


def test_only_so_many_streams_wait_for_their_key(locked: TestClient, small_jpeg: bytes):
    with ExitStack() as held:
        for _ in range(MAX_STRANGERS):
            held.enter_context(locked.websocket_connect("/stream"))
        strangers = locked.app.state.service.strangers
        end = time.monotonic() + 5
        while strangers.places < MAX_STRANGERS and time.monotonic() < end:
            time.sleep(0.01)
        with locked.websocket_connect("/stream") as camera:
            assert camera.receive_json()["type"] == "urn:farpose:problem:overloaded"
            with pytest.raises(WebSocketDisconnect) as closed:
                camera.receive_json()
            assert closed.value.code == 1013
        # Who sends the key with the handshake does not wait among them.
        with locked.websocket_connect("/stream", headers={"X-API-Key": KEYS["gate"]}) as camera:
            camera.send_bytes(small_jpeg)
            assert camera.receive_json()["frame"] == 0
    assert strangers.places == 0


@pytest.mark.parametrize("last", [None, b"no frame of a WebSocket, but as long as one may be"])
def test_a_camera_that_is_gone_before_it_sends_a_key_is_no_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    last: bytes | None,
):
    path = tmp_path / "keys"
    path.write_text(f"gate:{hashed(KEYS['gate'])}\n")
    monkeypatch.setenv("FARPOSE_API_KEYS_FILE", str(path))
    with Service(FARPOSE, ROOT) as service:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as camera:
                camera.sendall(HANDSHAKE)
                assert camera.recv(1000).startswith(b"HTTP/1.1 101")
                if last is not None:
                    camera.sendall(last)
                    camera.recv(1000)
    log = capfd.readouterr().err
    assert log.count(" WS /stream 100") == 3
    assert "Traceback" not in log


def test_what_is_watched_and_what_is_there_needs_the_key(locked: TestClient):
    for path in ("/metrics", "/models"):
        assert locked.get(path).status_code == 401
        headers = {"Authorization": f"Bearer {KEYS['gate']}"}
        assert locked.get(path, headers=headers).status_code == 200


def test_cameras_of_other_callers_are_other_cameras(locked: TestClient, small_jpeg: bytes):
    def post(caller: str, timestamp: float) -> int:
        headers = {"X-API-Key": KEYS[caller], "Content-Type": "image/jpeg"}
        address = f"/pose?camera_id=shared&timestamp={timestamp}"
        return locked.post(address, content=small_jpeg, headers=headers).status_code

    assert [post("gate", 10), post("yard", 5), post("gate", 9)] == [200, 200, 409]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("", "holds no key"),
        ("# nobody\n", "holds no key"),
        ("gate\n", "line 1"),
        (f"gate:{'0' * 64}\nyard:{'0' * 63}\n", "line 2"),
        ("gate:" + "G" * 64, "line 1"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str | None, words: str
):
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KeysError, match=words):
        Keys.read(path)


def test_a_new_key_opens_with_the_line_that_is_printed_for_it(tmp_path: Path):
    done = subprocess.run([FARPOSE, "new-key", "gate"], capture_output=True, text=True, check=True)
    path = tmp_path / "keys"
    path.write_text(done.stdout)
    key = done.stderr.splitlines()[0].rpartition(" ")[2]
    assert Keys.read(path).name_of(key) == "gate"
    assert key not in done.stdout
    refused = subprocess.run([FARPOSE, "new-key", "a:b"], capture_output=True, text=True)
    assert refused.returncode == 2


@pytest.mark.parametrize(
    "more", [[], ["--engine", "triton", "--workers", "2"]], ids=["alone", "workers"]
)
def test_the_service_does_not_start_with_keys_it_cannot_read(tmp_path: Path, more: list[str]):
    done = subprocess.run(
        [FARPOSE, "serve", "--port", "18077", *more],
        env={"PATH": "/usr/bin", "FARPOSE_API_KEYS_FILE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: api_keys_file: ")
    assert done.stderr.count("\n") == 1
    assert "none" in done.stderr


def test_workers_that_cannot_start_end_the_service_with_an_error():
    done = subprocess.run(
        [FARPOSE, "serve", "--port", "18076", "--engine", "triton", "--workers", "2"],
        # The process that starts the workers reads the keys, and leaves none for them.
        env={"PATH": "/usr/bin", "FARPOSE_API_KEYS_FILE": "/dev/stdin"},
        input=f"gate:{hashed(KEYS['gate'])}\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "holds no key" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: a worker could not start")
