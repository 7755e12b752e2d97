"""Peers that keep a connection busy with nothing: a real server with short times."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import uvicorn
from websockets.sync.client import connect as connect_websocket

from farpose_serving import http_connections
from farpose_serving.hang_up import AbortingWebSockets
from farpose_serving.http_connections import BoundedHttp

SHORT = 0.5
LONG = 10.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


async def answer(scope, receive, send) -> None:
    """Answers without reading the body; /large with more than the sockets hold, at once or not.

    A WebSocket hears what it said.
    """
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if "text" in message:
                await send({"type": "websocket.send", "text": message["text"]})
        return
    pieces = {"/large": [bytes(50_000_000)], "/many": [bytes(1_000_000)] * 50}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in pieces.get(scope["path"], [b"done"]):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> Iterator[uvicorn.Server]:
    for name, value in seconds.items():
        monkeypatch.setattr(http_connections, name, value)
    config = uvicorn.Config(
        answer,
        http=partial(BoundedHttp, most=100),
        ws=AbortingWebSockets,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield server
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)


def connect(server: uvicorn.Server, request: bytes = b"") -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=LONG)
    peer.sendall(request)
    return peer


def seconds_until_hung_up(peer: socket.socket, trickle: bytes) -> float:
    """How long the service lets us go on sending."""
    start = time.monotonic()
    peer.settimeout(0.05)
    while time.monotonic() < start + LONG:
        try:
            if trickle:
                peer.sendall(trickle)
            if not peer.recv(65536):
                break
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    return time.monotonic() - start


def left(server: uvicorn.Server) -> int:
    """Connections, and tasks that answer them, still there once they had time to go."""
    state = server.server_state
    end = time.monotonic() + LONG
    while (state.connections or state.tasks) and time.monotonic() < end:
        time.sleep(0.05)
    return len(state.connections) + len(state.tasks)


@pytest.mark.parametrize(
    ("first", "trickle"),
    [
        (b"", b""),  # says nothing
        (b"GET /", b"a"),  # a byte now and then
        (b"", b"\r\n"),  # an empty line now and then, which may stand before a request
        (GET + b"GET /", b"a"),  # after a request that was answered
        (GET, b"\r\n"),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
    ],
)
def test_a_head_that_never_ends_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, first: bytes, trickle: bytes
):
    with serving(monkeypatch, HEAD_SECONDS=SHORT) as server, connect(server, first) as peer:
        assert SHORT - 0.1 < seconds_until_hung_up(peer, trickle) < SHORT + 2
        assert left(server) == 0


def test_the_rest_of_a_body_whose_request_is_answered_is_not_taken_for_ever(
    monkeypatch: pytest.MonkeyPatch,
):
    with serving(monkeypatch, DRAIN_SECONDS=SHORT) as server, connect(server, UPLOAD) as peer:
        assert SHORT - 0.1 < seconds_until_hung_up(peer, b"x") < SHORT + 2
        assert left(server) == 0


def test_a_body_that_comes_after_the_answer_leaves_the_connection_usable(
    monkeypatch: pytest.MonkeyPatch,
):
    with serving(monkeypatch, DRAIN_SECONDS=SHORT) as server, connect(server, UPLOAD) as peer:
        read_answer(peer)
        peer.sendall(bytes(1_000_000) + GET)
        read_answer(peer)
        time.sleep(SHORT + 0.2)
        peer.sendall(GET)
        read_answer(peer)


def read_answer(peer: socket.socket) -> None:
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        chunk = peer.recv(65536)
        assert chunk, received
        received += chunk
    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"/large", b"/many"])
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_an_answer_that_is_not_taken_is_dropped(
    monkeypatch: pytest.MonkeyPatch, path: bytes, close: bytes
):
    request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n"
    with serving(monkeypatch, TAKE_SECONDS=SHORT) as server, connect(server, request) as peer:
        peer.recv(10)
        assert left(server) == 0


def test_an_answer_that_is_taken_in_time_is_whole(monkeypatch: pytest.MonkeyPatch):
    request = b"GET /many HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving(monkeypatch, TAKE_SECONDS=SHORT) as server, connect(server, request) as peer:
        received = 0
        while chunk := peer.recv(1 << 20):
            received += len(chunk)
            time.sleep(0.02)
        assert received > 50_000_000


def test_a_websocket_lives_on_after_its_handshake(monkeypatch: pytest.MonkeyPatch):
    with (
        serving(monkeypatch, HEAD_SECONDS=SHORT, DRAIN_SECONDS=SHORT, TAKE_SECONDS=SHORT) as server,
        connect_websocket(f"ws://127.0.0.1:{server.port}") as camera,
    ):
        for word in ("first", "second"):
            time.sleep(2 * SHORT)
            camera.send(word)
            assert camera.recv(LONG) == word
