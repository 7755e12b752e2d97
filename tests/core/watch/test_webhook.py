"""Records to a webhook that is slow, busy, down or refuses."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from farpose.watch.outputs import Outputs, open_sinks
from farpose.watch.records import Record
from farpose.watch.sinks.queue import Sink
from farpose.watch.sinks.webhook import LONGEST_WAIT, WebhookError, retry_after, signature


class Receiver(BaseHTTPRequestHandler):
    """Answers with the statuses that the server has been given, then with 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.server.got.append((time.monotonic(), status, dict(self.headers), body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def receiver(*answers: tuple[int, dict[str, str]], port: int = 0) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    server.daemon_threads = True
    server.answers, server.got = list(answers), []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def sink_for(port: int, queue: int = 256, user: str = "me:secret@", **outputs) -> Sink:
    address = f"http://{user}127.0.0.1:{port}/people?token=secret"
    (sink,) = open_sinks(Outputs(webhook=address, queue=queue, **outputs))
    sink.start()
    return sink


def put(sink: Sink, *numbers: int) -> None:
    for number in numbers:
        record = Record("gate", json.dumps({"frame": number}).encode())
        # An event loop is not needed: without `wait` nothing is awaited.
        with pytest.raises(StopIteration):
            sink.put(record).send(None)


def frames(server: ThreadingHTTPServer, status: int = 200) -> list[int]:
    return [json.loads(body)["frame"] for _, got, _, body in server.got if got == status]


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def test_records_are_posted_signed_and_with_a_token():
    secrets = {"webhook_token": "abc", "webhook_secret": "key"}
    with receiver() as server:
        sink = sink_for(server.server_port, user="", **secrets)
        put(sink, 1, 2)
        until(lambda: sink.delivered == 2)
        sink.close(1)
    assert frames(server) == [1, 2]
    _, _, headers, body = server.got[0]
    assert headers["Authorization"] == "Bearer abc"
    assert headers["Content-Type"] == "application/json"
    when, digest = headers["X-Farpose-Signature"].split(",")
    seconds = when.removeprefix("t=")
    assert abs(int(seconds) - time.time()) < 30
    signed = hmac.new(b"key", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    assert digest == f"sha256={signed}"
    assert sink.name == f"http://127.0.0.1:{server.server_port}/people?token=***"


def test_a_busy_receiver_is_asked_again_when_it_wants_to_be():
    with receiver((500, {}), (503, {"Retry-After": "1"})) as server:
        sink = sink_for(server.server_port)
        put(sink, 1, 2)
        until(lambda: sink.delivered == 2)
        sink.close(1)
    assert [status for _, status, _, _ in server.got] == [500, 503, 200, 200]
    assert frames(server) == [1, 2], "nothing is lost, and in order"
    assert server.got[2][0] - server.got[1][0] >= 1.0
    assert sink.lost == 0 and sink.trouble == ""


def test_a_receiver_that_refuses_loses_records_and_the_next_ones_are_tried(caplog):
    with receiver((403, {}), (301, {"Location": "/elsewhere"})) as server:
        sink = sink_for(server.server_port)
        put(sink, 1, 2, 3)
        until(lambda: sink.delivered == 1)
        sink.close(1)
    assert frames(server) == [3]
    assert sink.lost == 2
    assert "refuses records: it answers 403" in caplog.text
    assert "answers 301: give the address that it points to" in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_that_is_down_is_waited_for_in_bounded_room():
    with receiver() as server:
        port = server.server_port
    sink = sink_for(port, queue=3)
    put(sink, *range(10))
    until(lambda: sink.trouble == "cannot be reached (ConnectError)")
    assert sink.waiting <= 3
    with receiver(port=port) as server:
        until(lambda: sink.delivered >= 3)
        sink.close(1)
    assert frames(server)[-3:] == [7, 8, 9], "the newest are kept"
    assert sink.delivered + sink.lost == 10


def test_a_receiver_that_never_answers_ends_with_the_command():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = sink_for(silent.getsockname()[1])
        put(sink, 1, 2)
        time.sleep(0.1)
        started = time.monotonic()
        sink.close(0.2)
    assert time.monotonic() - started < 2
    assert sink.lost >= 1 and sink.delivered == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("2", 2.0),
        ("-5", 0.0),
        ("86400", LONGEST_WAIT),
        ("nan", 0.0),
        ("soon", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2235 07:28:00 GMT", LONGEST_WAIT),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float):
    assert retry_after(value) == seconds


def test_the_documented_example_of_a_signature():
    header = signature(b"key", b"{}", now=1764400000.4)["X-Farpose-Signature"]
    assert header == (
        "t=1764400000,sha256=" + hmac.new(b"key", b"1764400000.{}", hashlib.sha256).hexdigest()
    )


@pytest.mark.parametrize(
    "address",
    ["example.org/x", "ftp://example.org/x", "http:///x", "http://[::1/x", "http://h:99999999/"],
)
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(WebhookError, match="--webhook takes an address"):
        open_sinks(Outputs(webhook=address))


def test_two_ways_to_say_who_it_is_are_refused():
    outputs = Outputs(webhook="https://me:secret@example.org/x", webhook_token=f"{0:x}")
    with pytest.raises(WebhookError, match="and not both") as refused:
        open_sinks(outputs)
    assert "secret" not in str(refused.value)
