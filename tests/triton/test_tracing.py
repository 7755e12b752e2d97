"""A caller's trace goes through the service to a real Triton server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from starlette.testclient import TestClient

from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from farpose_serving.triton.server import TritonServer
from tests.serving.test_tracing import PARENT, TRACE, collector

__all__ = ["collector"]

UNBOUNDED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

Seen = list[tuple[str, dict[str, str]]]


class Passage(grpc.GenericRpcHandler):
    """Hands every call on to another server as it is, and keeps its method and headers."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.seen: Seen = []

    def service(self, details):
        call_on = self._channel.unary_unary(details.method)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            method = details.method.rpartition("/")[2]
            self.seen.append((method, dict(context.invocation_metadata())))
            return call_on(request)

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def passage(triton: TritonServer) -> Iterator[tuple[str, Seen]]:
    """An address that leads to Triton, and the calls that came by."""
    target = f"{triton.host}:{triton.ports.grpc}"
    with grpc.insecure_channel(target, UNBOUNDED) as channel, ThreadPoolExecutor(4) as pool:
        handler = Passage(channel)
        server = grpc.server(pool, handlers=[handler], options=UNBOUNDED)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", handler.seen
        server.stop(None).wait()


@pytest.mark.parametrize(("engine", "calls"), [("triton", 2), ("triton-pipeline", 1)])
def test_every_run_at_triton_is_in_the_trace_of_its_request(
    passage: tuple[str, Seen],
    collector: tuple[str, list],
    repository: Path,
    pictures: list[bytes],
    engine: str,
    calls: int,
):
    url, seen = passage
    settings = Settings(
        repository=repository, engine=engine, triton_url=url, tracing_endpoint=collector[0]
    )
    with TestClient(create_app(settings)) as client:
        headers = {"Content-Type": "image/jpeg", "traceparent": PARENT}
        answer = client.post("/pose", content=pictures[0], headers=headers)
        assert answer.status_code == 200
        assert answer.json()["people"]
    (request,) = [span for span in collector[1] if span.name == "POST /pose"]
    runs = [sent["traceparent"] for method, sent in seen if "traceparent" in sent]
    assert runs == [f"00-{TRACE}-{request.span_id.hex()}-01"] * calls
