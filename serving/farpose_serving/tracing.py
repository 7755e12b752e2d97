"""Traces of requests for an OpenTelemetry collector: an extra, off unless it has an address."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farpose.extras import how_to_install
from farpose_serving.observed import METHODS, OTHER, QUIET, route_of

CLOSE_SECONDS: Final = 3.0
"""For the last spans when the service stops: a collector that is away must not keep it."""

TOTAL: Final = "total"
"""Of `timing_ms`, what is no stage."""

EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""The logger of what sends spans."""


class TracingUnavailableError(RuntimeError):
    """The packages of the extra `tracing` are not installed."""


def check_tracing() -> None:
    """Return if traces can be sent; `TracingUnavailableError` says what is missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: F401
        from opentelemetry.sdk.trace import export  # noqa: F401
    except ImportError as error:
        raise TracingUnavailableError(
            "tracing_endpoint: tracing needs packages that are not installed: leave it unset, or, "
            f"{how_to_install('serve', 'tracing')}"
        ) from error


class Tracing:
    """Sends spans to a collector, in the background.

    The service does not wait for the collector. While it is away, the newest spans are kept until
    their buffer is full, and the log says so.

    Args:
        endpoint: its OTLP/HTTP address.

    Raises:
        TracingUnavailableError: the packages are not installed.
    """

    def __init__(self, endpoint: str) -> None:
        check_tracing()
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Its warnings repeat the whole address, in which a caller's token may be; failures of all
        # retries are errors, without it.
        logging.getLogger(EXPORTER).setLevel(logging.ERROR)
        self._trace, self._nothing = trace, Context()
        # Of all that a caller may send, this alone: baggage is not for us to pass on.
        self._propagator = TraceContextTextMapPropagator()
        resource = Resource.create({"service.name": "farpose"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("farpose")

    def close(self) -> None:
        """Send what has not been sent, for a few seconds at most; call it from a thread."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # no more retries

    def headers(self) -> dict[str, str]:
        """What tells another server which trace a call belongs to: `traceparent`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def stages(self, timing_ms: Mapping[str, float]) -> None:
        """Spans for the stages of the picture that has just been answered.

        Args:
            timing_ms: milliseconds per stage, in order, and `total`.
        """
        start = time.time_ns() - int(timing_ms.get(TOTAL, 0.0) * 1e6)
        for stage, milliseconds in timing_ms.items():
            if stage != TOTAL:
                span = self._tracer.start_span(stage, start_time=start)
                start += int(milliseconds * 1e6)
                span.end(end_time=start)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Any]:
        """The span of a request, within the caller's trace if it has one."""
        context = self._propagator.extract(dict(Headers(scope=scope)))
        with self._span("request", context=context) as span:
            yield span

    @contextmanager
    def picture(self, scope: Scope, identifier: str) -> Iterator[None]:
        """The span of a picture of a stream: a trace of its own, as streams go on for days.

        Args:
            scope: of the connection; a trace in its handshake is linked to.
            identifier: of the picture.
        """
        handshake = self._propagator.extract(dict(Headers(scope=scope)))
        caller = self._trace.get_current_span(handshake).get_span_context()
        links = [self._trace.Link(caller)] if caller.is_valid else []
        with self._span("WS /stream", context=self._nothing, links=links) as span:
            span.set_attribute("http.route", "/stream")
            span.set_attribute("farpose.request_id", identifier)
            yield

    def _span(self, name: str, **more: Any) -> Any:
        kind = self._trace.SpanKind.SERVER
        return self._tracer.start_as_current_span(name, kind=kind, **more)


class Traced:
    """ASGI middleware: a span for every request, but for those that machines ask all the time."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(scope) as span:
            try:
                await self._app(scope, receive, note)
            finally:
                method = scope["method"] if scope["method"] in METHODS else OTHER
                route = route_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                span.set_attribute("farpose.request_id", scope["state"]["request_id"])
