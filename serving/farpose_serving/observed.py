"""What is seen of every request: its duration counted, and a line in the log."""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farpose_serving.metrics import Metrics

METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
OTHER: Final = "other"
"""The method, or the route, of requests that are none of ours: their names have no bound."""

QUIET: Final = ("/health/live", "/health/ready", "/metrics")
"""Asked every few seconds by machines: counted, and logged where they fail."""

REFUSED: Final = 403
"""What a WebSocket is answered with that is closed before it was accepted."""

logger = logging.getLogger("farpose.requests")


class Observed:
    """ASGI middleware that counts requests, and logs them and the connections of cameras.

    Neither the path nor the query is looked at: a line has the route's pattern, so nothing that a
    caller makes up is in the log or among the labels.

    Args:
        app: what answers.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        match scope["type"]:
            case "http":
                await self._request(scope, receive, send)
            case "websocket":
                await self._connection(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        traffic = _Traffic(receive, send, status=500)
        try:
            await self._app(scope, traffic.receive, traffic.send)
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            route = route_of(scope)
            self._metrics.request(method, route, traffic.status, traffic.seconds)
            if route not in QUIET or traffic.status >= 400:
                traffic.log(method, route)

    async def _connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Connections last for hours, so their durations are no requests' and are not counted."""
        traffic = _Traffic(receive, send, status=1006)
        try:
            await self._app(scope, traffic.receive, traffic.send)
        finally:
            traffic.log("WS", route_of(scope), messages_received=traffic.messages)


class _Traffic:
    """Counts what goes by.

    Args:
        receive: where messages come from.
        send: where they go.
        status: that of a request without an answer, of a connection without a goodbye.
    """

    def __init__(self, receive: Receive, send: Send, status: int) -> None:
        self._receive, self._send = receive, send
        self._started = time.perf_counter()
        self.status = status
        self.received = self.sent = self.messages = 0
        self._accepted = False

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    async def receive(self) -> Message:
        message = await self._receive()
        match message["type"]:
            case "websocket.receive":
                self.messages += 1
                self.received += _size(message)
            case "websocket.disconnect":
                self.status = message.get("code", self.status)
            case _:
                self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                self.status = message["status"]
            case "websocket.accept":
                self._accepted = True
            case "websocket.close":
                self.status = message.get("code", 1000) if self._accepted else REFUSED
            case "websocket.send":
                self.sent += _size(message)
            case _:
                self.sent += len(message.get("body", b""))
        await self._send(message)

    def log(self, method: str, route: str, **more: int) -> None:
        milliseconds = self.seconds * 1e3
        logger.info(
            "%s %s %d in %.1f ms",
            method,
            route,
            self.status,
            milliseconds,
            extra={
                "method": method,
                "route": route,
                "status": self.status,
                "duration_ms": round(milliseconds, 3),
                "bytes_received": self.received,
                "bytes_sent": self.sent,
                **more,
            },
        )


def route_of(scope: Scope) -> str:
    """The pattern of the route that a request took, `OTHER` if it was none of ours."""
    route = scope.get("route")
    return str(getattr(route, "path", OTHER)) if isinstance(route, BaseRoute) else OTHER


def _size(message: Message) -> int:
    """Bytes of a WebSocket's message; a character of a text counts as one."""
    return len(message.get("bytes") or message.get("text") or b"")
