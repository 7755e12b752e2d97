"""Connections of cameras to a real service: how they end, and that they do."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.uri import parse_uri

from farpose_serving import hang_up
from farpose_serving.app import create_app
from farpose_serving.cameras import connection
from farpose_serving.settings import Settings
from tests.service import Service
from tests.serving.cameras.conftest import GatedEngine
from tests.serving.cameras.test_stream import HIGH, WIDE

FARPOSE = Path(sys.executable).with_name("farpose")


def test_a_stopped_service_answers_what_is_in_work_and_says_goodbye(tmp_path: Path, bus: Path):
    picture = bus.read_bytes()
    with Service(FARPOSE, tmp_path) as service:
        with connect(f"{service.url.replace('http', 'ws')}/stream") as camera:
            camera.send(HIGH)
            assert '"frame":0' in camera.recv(60)  # the first one waits for the tracker
            # Half of a request is there, the other half comes after the signal.
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as posting:
                head = (
                    "POST /pose HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                    f"Content-Length: {len(picture)}\r\n\r\n"
                )
                posting.sendall(head.encode() + picture[: len(picture) // 2])
                time.sleep(0.3)
                service.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    camera.recv(10)
                assert closed.value.rcvd.code == 1012
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection(("127.0.0.1", service.port), timeout=5)
                posting.sendall(picture[len(picture) // 2 :])
                answer = b""
                while chunk := posting.recv(65536):
                    answer += chunk
                assert answer.startswith(b"HTTP/1.1 200")
                assert b'"people":[{' in answer
        assert service.process.wait(15) == 0


def test_a_message_that_is_too_large_closes_with_1009(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FARPOSE_MAX_BODY_BYTES", "100000")
    with Service(FARPOSE, tmp_path) as service:
        with connect(f"{service.url.replace('http', 'ws')}/stream") as camera:
            camera.send(bytes(100_001))
            with pytest.raises(ConnectionClosed) as closed:
                camera.recv(10)
            assert closed.value.rcvd.code == 1009
        with urllib.request.urlopen(f"{service.url}/health/ready") as answer:
            assert answer.status == 200


@contextmanager
def served(app: FastAPI, grace: int = 5) -> Iterator[uvicorn.Server]:
    """The application over real sockets, in a thread; what runs at its end has `grace` seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, ws=hang_up.AbortingWebSockets, log_config=None, timeout_graceful_shutdown=grace
        )
        server = uvicorn.Server(config)
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def handshake(camera: socket.socket, url: str) -> ClientProtocol:
    """Open a WebSocket by hand, to send and read as no client library would."""
    protocol = ClientProtocol(parse_uri(url))
    protocol.send_request(protocol.connect())
    camera.sendall(b"".join(protocol.data_to_send()))
    while protocol.state is not State.OPEN:
        protocol.receive_data(camera.recv(4096))
    return protocol


def send_until_full(camera: socket.socket, protocol: ClientProtocol) -> None:
    for _ in range(200_000):
        protocol.send_text(b"no options" * 100)
        camera.sendall(b"".join(protocol.data_to_send()))


def send_until_hung_up_on(camera: socket.socket, protocol: ClientProtocol) -> None:
    """Go on, however slowly, until the service has ended the connection."""
    camera.settimeout(0.2)
    end = time.monotonic() + 60
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < end:
            protocol.send_text(b"no options" * 100)
            data = b"".join(protocol.data_to_send())
            while data and time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    data = data[camera.send(data) :]


def until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_camera_that_takes_no_answers_is_hung_up_on_and_others_go_on(
    repository: Path, gated: GatedEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.5)
    monkeypatch.setattr(connection, "WRONG_PAUSE", 0)  # to fill the buffers in seconds
    monkeypatch.setattr(hang_up, "CLOSE_SECONDS", 0.5)
    app = create_app(Settings(repository=repository), engine=gated)
    with served(app) as server:
        url = f"ws://127.0.0.1:{server.port}/stream"
        with connect(url) as good, socket.create_connection(("127.0.0.1", server.port)) as bad:
            protocol = handshake(bad, url)
            assert until(lambda: len(app.state.service.cameras) == 2)
            send_until_hung_up_on(bad, protocol)
            assert until(lambda: len(app.state.service.cameras) == 1)
            assert until(lambda: len(server.server_state.connections) == 1)
            good.send(WIDE)
            assert '"frame":0' in good.recv(30)
        assert until(lambda: len(app.state.service.cameras) == 0)
        assert until(lambda: not server.server_state.connections)


def test_a_camera_that_vanishes_in_the_middle_of_a_picture_is_forgotten(
    repository: Path, gated: GatedEngine
):
    app = create_app(Settings(repository=repository), engine=gated)
    with served(app) as server:
        url = f"ws://127.0.0.1:{server.port}/stream"
        with socket.create_connection(("127.0.0.1", server.port)) as camera:
            protocol = handshake(camera, url)
            assert until(lambda: len(app.state.service.cameras) == 1)
            protocol.send_binary(bytes(100_000))
            camera.sendall(b"".join(protocol.data_to_send())[:50_000])
        assert until(lambda: len(app.state.service.cameras) == 0)
        assert until(lambda: not server.server_state.connections)


def test_a_camera_that_hangs_up_while_its_picture_is_in_work_leaves_no_turn_taken(
    repository: Path, gated: GatedEngine
):
    app = create_app(Settings(repository=repository, max_running=1), engine=gated)
    with served(app) as server:
        url = f"ws://127.0.0.1:{server.port}/stream"
        gated.close_for(640)
        with connect(url) as camera:
            camera.send(WIDE)
            assert gated.entered.wait(10)
        assert until(lambda: app.state.service.admission.running == 0)
        gated.open()
        with connect(url) as camera:
            camera.send(WIDE)
            assert '"frame":0' in camera.recv(30)


def test_a_camera_that_hangs_up_while_it_is_answered_is_no_failure(
    repository: Path,
    gated: GatedEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(connection, "WRONG_PAUSE", 5)  # in which nobody reads that it is gone
    app = create_app(Settings(repository=repository), engine=gated)
    with served(app) as server:
        gated.close_for(640)
        with connect(f"ws://127.0.0.1:{server.port}/stream") as camera:
            camera.send(WIDE)
            assert gated.entered.wait(10)
            camera.send("no options")
            assert '"status": 422' in camera.recv(10)
        assert until(lambda: not server.server_state.connections)
        gated.open()
        assert until(lambda: len(app.state.service.cameras) == 0)
    assert "Traceback" not in caplog.text


def test_a_service_that_stops_while_a_session_is_still_made_leaves_no_traceback(
    repository: Path,
    gated: GatedEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    making = threading.Event()

    def slow(**_: object) -> None:
        making.set()
        time.sleep(1)  # as where the tracker is imported on a busy machine

    monkeypatch.setattr("farpose_serving.service.CameraSession", slow)
    app = create_app(Settings(repository=repository), engine=gated)
    with (
        served(app, grace=0) as server,
        connect(f"ws://127.0.0.1:{server.port}/stream") as camera,
    ):
        assert making.wait(10)
        server.should_exit = True
        with pytest.raises(ConnectionClosed):
            camera.recv(10)
    assert "Cancel 1 running task" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_camera_that_floods_is_read_slowly_and_others_are_answered(
    repository: Path, gated: GatedEngine
):
    app = create_app(Settings(repository=repository), engine=gated)
    with served(app) as server:
        url = f"ws://127.0.0.1:{server.port}/stream"
        with connect(url) as good, socket.create_connection(("127.0.0.1", server.port)) as bad:
            protocol = handshake(bad, url)
            bad.settimeout(2)  # longer than a first session takes
            with pytest.raises(OSError):  # noqa: PT011 - nothing more fits
                send_until_full(bad, protocol)
            start = time.monotonic()
            for number in range(5):
                good.send(HIGH)
                assert f'"frame":{number}' in good.recv(30)
            assert time.monotonic() - start < 5
