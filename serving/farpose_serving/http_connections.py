"""HTTP connections that cannot be held open for nothing, and whose bad requests get problems."""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from farpose_serving.problems import (
    HEADERS_TOO_LARGE,
    NO_HTTP,
    OVERLOADED,
    PROBLEM_TYPE,
    RETRY,
    ProblemDetails,
    ProblemError,
)
from farpose_serving.request_ids import REQUEST_ID_HEADER
from farpose_serving.safe_headers import SAFE_HEADERS

HEAD_SECONDS: Final = 10.0
"""The head of a request must be complete this long after the connection or its first byte."""

DRAIN_SECONDS: Final = 10.0
"""A body that nobody reads, as its request was refused, may go on for so long."""

TAKE_SECONDS: Final = 30.0
"""An answer must have been taken so long after it was written."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request: its address and its headers. Boxes of many people make an address long."""


class _HeadError(ValueError):
    """A head is too large; the parser stops."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to whatever a peer could drag out.

    uvicorn itself waits for ever for the rest of a request's head, however long, for the rest of a
    body whose request has been answered, and for a peer to take its answer. Bodies that are read
    have the deadline of their request.

    Args:
        most: connections at once; more are answered with 503 and closed.
    """

    def __init__(self, *args: Any, most: int, **named: Any) -> None:
        super().__init__(*args, **named)
        self._most = most
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reads: Literal["nothing", "head", "body"] = "nothing"
        self._head_bytes = 0

    # What the connection does.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room for one more."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            detail = "Too many connections are open: try again a little later."
            self._refuse(ProblemError(OVERLOADED, detail, RETRY))
            return
        self._abort_after("head", HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take what a peer sends."""
        if self.transport.is_closing():
            return
        if self._reads == "head":
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            return  # it is a WebSocket now
        if self._reads == "head" and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._reads == "nothing" and self._answered and "head" not in self._timers:
            self._abort_after("head", HEAD_SECONDS)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket, which has times of its own."""
        self._cancel_all()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_all()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer takes its answer more slowly than it is written."""
        super().pause_writing()
        self._abort_after("write", TAKE_SECONDS)

    def resume_writing(self) -> None:
        """The peer has taken what was written."""
        super().resume_writing()
        self._cancel("write")

    # What the parser finds.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._reads, self._head_bytes = "head", 0
        self._abort_after("head", HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._head_bytes = len(self.url) + sum(
            len(name) + len(value) for name, value in self.headers
        )
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadError
        self._reads = "body"
        self._cancel("head")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._reads = "nothing"
        self._cancel("drain")
        super().on_message_complete()

    # What is answered.

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of the one that has been answered."""
        super().on_response_complete()
        if self._reads == "body" and self._answered:
            self._abort_after("drain", DRAIN_SECONDS)
        if self.transport.is_closing():
            self._abort_after("take", TAKE_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is idle; what the peer has not taken of its answer is dropped."""
        super().timeout_keep_alive_handler()
        self._abort_after("take", TAKE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses."""
        if self._reads == "head" and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(ProblemError(NO_HTTP, "What was sent is not an HTTP/1.1 request."))

    @property
    def _answered(self) -> bool:
        """Whether no request waits for its answer."""
        return self.cycle is None or self.cycle.response_complete

    def _refuse_head(self) -> None:
        detail = f"The request's address and headers have more than {MAX_HEAD_BYTES} bytes."
        self._refuse(ProblemError(HEADERS_TOO_LARGE, detail))

    def _refuse(self, problem: ProblemError) -> None:
        """Answer a connection without a request that a route could answer, and close it."""
        if self.pipeline or (self.cycle is not None and self.cycle.response_started):
            if not self._answered:  # an answer cannot begin inside another
                self.transport.abort()
                return
        elif self.cycle is not None:
            self.cycle.disconnected = True  # its route can stop: this is the answer
            self.cycle.message_event.set()
        details = ProblemDetails.of(problem, uuid.uuid4().hex)
        body = json.dumps(details.model_dump()).encode()
        headers = {
            "Content-Type": PROBLEM_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            REQUEST_ID_HEADER: details.id,
            **SAFE_HEADERS,
            **(problem.headers or {}),
        }
        lines = [f"HTTP/1.1 {details.status} {HTTPStatus(details.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
        self._abort_after("take", TAKE_SECONDS)

    def _abort_after(self, name: str, seconds: float) -> None:
        self._cancel(name)
        self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _cancel_all(self) -> None:
        for name in tuple(self._timers):
            self._cancel(name)
