"""Traces: spans of requests and stages at a collector, and the trace passed on to Triton."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from farpose.engine import EngineError, EngineUnavailableError, ModelMetadata
from farpose.engines.triton import TritonEngine
from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from farpose_serving.tracing import CLOSE_SECONDS, Tracing, TracingUnavailableError
from tests.serving.conftest import RecordingEngine
from tests.serving.encoded import encode, gradient

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
WIDE = encode(gradient(96, 64), ".jpg")


@pytest.fixture
def collector() -> Iterator[tuple[str, list]]:
    """A real OTLP/HTTP receiver: its address, and the spans it has got."""
    spans: list = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = ExportTraceServiceRequest.FromString(body)
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
        server.shutdown()
        thread.join()


def test_a_request_and_its_stages_are_in_the_callers_trace(
    repository: Path, recording: RecordingEngine, collector: tuple[str, list]
):
    address, spans = collector
    settings = Settings(repository=repository, tracing_endpoint=address)
    with TestClient(create_app(settings, engine=recording)) as client:
        headers = {"Content-Type": "image/jpeg", "traceparent": PARENT}
        assert client.post("/pose", content=WIDE, headers=headers).status_code == 200
        assert client.get("/nowhere/42").status_code == 404
    named = {span.name: span for span in spans}
    assert named.keys() == {"POST /pose", "GET other", "decode", "letterbox", "detector"}
    request = named["POST /pose"]
    assert request.trace_id.hex() == TRACE
    assert {a.key: a.value.int_value for a in request.attributes}[
        "http.response.status_code"
    ] == 200
    for stage in ("decode", "letterbox", "detector"):
        span = named[stage]
        assert (span.trace_id, span.parent_span_id) == (request.trace_id, request.span_id)
        assert request.start_time_unix_nano <= span.start_time_unix_nano + 1_000_000
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    assert named["decode"].end_time_unix_nano == named["letterbox"].start_time_unix_nano
    assert named["GET other"].trace_id != request.trace_id


def attributes(span) -> dict[str, str | int]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_that_fails_says_so_and_those_of_machines_are_left_out(
    repository: Path, recording: RecordingEngine, collector: tuple[str, list]
):
    address, spans = collector
    settings = Settings(repository=repository, tracing_endpoint=address)
    app = create_app(settings, engine=recording)
    with TestClient(app, raise_server_exceptions=False) as client:
        recording.failure = EngineError("the graph is broken")
        try:
            headers = {"Content-Type": "image/jpeg", "X-Request-ID": "bad-1"}
            assert client.post("/pose", content=WIDE, headers=headers).status_code == 500
        finally:
            recording.failure = None
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert client.get(path).status_code == 200
    (span,) = spans
    assert span.name == "POST /pose"
    assert span.status.code == 2  # an error, in OTLP
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/pose",
        "http.response.status_code": 500,
        "farpose.request_id": "bad-1",
    }


def test_every_picture_of_a_stream_is_a_trace_of_its_own(
    repository: Path, recording: RecordingEngine, collector: tuple[str, list]
):
    address, spans = collector
    settings = Settings(repository=repository, tracing_endpoint=address, detect_every=1)
    with TestClient(create_app(settings, engine=recording)) as client:
        headers = {"traceparent": PARENT, "X-Request-ID": "cam-1"}
        with client.websocket_connect("/stream", headers=headers) as camera:
            for _ in range(2):
                camera.send_bytes(WIDE)
                assert camera.receive_json()["people"] == []
            camera.send_bytes(b"no picture")
            assert camera.receive_json()["status"] == 400
    pictures = {attributes(s)["farpose.request_id"]: s for s in spans if s.name == "WS /stream"}
    assert pictures.keys() == {"cam-1-0", "cam-1-1", "cam-1-2"}
    assert len({span.trace_id for span in pictures.values()}) == 3
    for span in pictures.values():
        assert not span.parent_span_id
        assert [link.trace_id.hex() for link in span.links] == [TRACE]
    stages = [span for span in spans if span.name != "WS /stream"]
    for number in range(2):
        mine = [s for s in stages if s.trace_id == pictures[f"cam-1-{number}"].trace_id]
        assert {span.name for span in mine} == {"decode", "letterbox", "detector", "tracking"}
        assert {s.parent_span_id for s in mine} == {pictures[f"cam-1-{number}"].span_id}
    assert len(stages) == 8
    assert pictures["cam-1-2"].status.code == 2


@pytest.mark.parametrize("answers", [False, True], ids=["nobody listens", "nobody answers"])
def test_a_collector_that_is_away_holds_nothing_up(
    repository: Path,
    recording: RecordingEngine,
    caplog: pytest.LogCaptureFixture,
    answers: bool,
):
    with socket.create_server(("127.0.0.1", 0)) as away:
        port = away.getsockname()[1]
        if not answers:
            away.close()
        address = f"http://127.0.0.1:{port}/v1/traces?token=hush-hush"
        settings = Settings(repository=repository, tracing_endpoint=address)
        with TestClient(create_app(settings, engine=recording)) as client:
            headers = {"Content-Type": "image/jpeg"}
            assert client.post("/pose", content=WIDE, headers=headers).status_code == 200
            stopping = time.monotonic()
        assert time.monotonic() - stopping < CLOSE_SECONDS + 3
    assert "hush-hush" not in caplog.text


def test_what_a_caller_sends_beside_the_trace_goes_no_further(collector: tuple[str, list]):
    tracing = Tracing(collector[0])
    sent = {"traceparent": PARENT, "baggage": "secret=hush", "b3": f"{TRACE}-00f067aa0ba902b7-1"}
    scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in sent.items()]}
    with tracing.request(scope):
        passed_on = tracing.headers()
    tracing.close()
    assert passed_on.keys() == {"traceparent"}
    assert passed_on["traceparent"].split("-")[1] == TRACE
    assert tracing.headers() == {}


def test_the_trace_is_passed_on_to_triton(collector: tuple[str, list]):
    seen: list[dict[str, str]] = []

    class Recorder(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(request, context):
                seen.append(dict(context.invocation_metadata()))
                context.abort(grpc.StatusCode.UNAVAILABLE, "only listening")

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Recorder()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tracing = Tracing(collector[0])

    async def run() -> None:
        async with TritonEngine(f"127.0.0.1:{port}", headers=tracing.headers) as engine:
            engine._known["identity"] = ModelMetadata("identity", "1", (), (), 1)
            scope = {"type": "http", "headers": [(b"traceparent", PARENT.encode())]}
            with tracing.request(scope), pytest.raises(EngineUnavailableError):
                await engine.infer("identity", {"x": np.zeros((1, 1), np.float32)})

    try:
        asyncio.run(run())
    finally:
        server.stop(None).wait()
        tracing.close()
    assert seen[0]["traceparent"].split("-")[1] == TRACE


def test_without_the_packages_the_setting_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingUnavailableError, match=r"pip install '\.\[serve,tracing\]'"):
        create_app(Settings(repository=repository, tracing_endpoint="http://localhost:1/v1/traces"))
