"""What is no request, comes too slowly, or comes too often, against a real service."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE

MOST = 12
DEADLINE = 1.0
POST = b"POST /pose HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FARPOSE_MAX_CONNECTIONS", str(MOST))
        patch.setenv("FARPOSE_DEADLINE_MS", str(round(DEADLINE * 1e3)))
        patch.setenv("FARPOSE_MAX_RUNNING", "1")
        patch.setenv("FARPOSE_MAX_WAITING", "1")
        with Service(FARPOSE, ROOT) as service:
            yield service


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def everything(peer: socket.socket) -> bytes:
    """What comes until the service hangs up."""
    received = b""
    try:
        while chunk := peer.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def one_answer(peer: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = peer.recv(65536)
        assert chunk, received
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        chunk = peer.recv(65536)
        assert chunk, body
        body += chunk
    return int(first.split()[1]), headers, body


def check_problem(answer: tuple[int, dict[str, str], bytes], status: int, name: str) -> None:
    found, headers, body = answer
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["type"] == f"urn:farpose:problem:{name}"
    assert problem["id"] == headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def still_serves(service: Service) -> None:
    with connect(service) as peer:
        peer.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert everything(peer).startswith(b"HTTP/1.1 200")


def test_headers_without_end_are_refused_once_they_are_too_large(service: Service):
    with connect(service) as peer:
        peer.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        try:
            for i in range(3000):
                peer.sendall(b"X-%d: " % i + b"a" * 100 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up while we were sending
        received = everything(peer)
    # A peer that goes on sending may lose the answer to the reset that it gets.
    assert received.startswith(b"HTTP/1.1 431") or received == b""
    still_serves(service)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 66_000 + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 400_000,  # without an end
        b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
    ],
    ids=["one header", "without end", "address", "many headers"],
)
def test_a_head_that_is_too_large_is_refused(service: Service, head: bytes):
    with connect(service) as peer:
        peer.sendall(head)
        check_problem(one_answer(peer), 431, "headers-too-large")
        assert everything(peer) == b""
    still_serves(service)


def test_many_boxes_fit_into_an_address(service: Service):
    boxes = ";".join(["1234.125,1234.125,2345.125,2345.125"] * 1000).encode()
    with connect(service) as peer:
        peer.sendall(
            b"POST /pose?boxes=" + boxes + b" HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: image/jpeg\r\nContent-Length: 0\r\n\r\n"
        )
        assert one_answer(peer)[0] in (400, 422)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # TLS
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
        POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_problem(service: Service, sent: bytes):
    with connect(service) as peer:
        peer.sendall(sent)
        check_problem(one_answer(peer), 400, "no-http")
        assert everything(peer) == b""
    still_serves(service)


@pytest.mark.parametrize("how", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_that_comes_slowly_has_the_deadline_of_its_request(service: Service, how: bytes):
    chunk = b"1\r\nx\r\n" if b"chunked" in how else b"x"
    with connect(service) as peer:
        start = time.monotonic()
        peer.sendall(POST + how + b"\r\n")
        peer.settimeout(0.1)
        received = b""
        while not received and time.monotonic() < start + 20:
            peer.sendall(chunk)
            try:
                received = peer.recv(65536)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 504")
        assert DEADLINE - 0.1 < time.monotonic() - start < DEADLINE + 3
    still_serves(service)


def test_slow_bodies_fill_the_queue_but_not_the_service(service: Service):
    slow = [connect(service) for _ in range(4)]
    try:
        for peer in slow:
            peer.sendall(POST + b"Content-Length: 1000\r\n\r\nx")
        answers = sorted(one_answer(peer)[0] for peer in slow)
        assert answers == [503, 503, 504, 504]
    finally:
        for peer in slow:
            peer.close()
    still_serves(service)


def test_a_connection_too_many_is_told_to_come_later(service: Service):
    held = [connect(service) for _ in range(MOST)]
    try:
        with connect(service) as peer:
            peer.settimeout(5)
            answer = one_answer(peer)
            check_problem(answer, 503, "overloaded")
            assert answer[1]["retry-after"] == "1"
    finally:
        for peer in held:
            peer.close()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with connect(service) as peer:
            peer.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if everything(peer).startswith(b"HTTP/1.1 200"):
                return
    pytest.fail("the connections that were closed still count")
