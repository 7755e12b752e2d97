"""An id for every request: the caller's `X-Request-ID` if it is sane, or a new one."""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farpose_serving.logs import request_id_now

REQUEST_ID_HEADER: Final = "X-Request-ID"

_SANE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""Ids go into logs and answers: no spaces, no line ends, nothing long."""


class RequestIds:
    """ASGI middleware that gives each request an id and puts it into the answer's header.

    The handshake of a WebSocket is a request, too: its id is that of the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with `state.request_id` set."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        identifier = sent if _SANE.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = identifier
        request_id_now.set(identifier)

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = identifier
            await send(message)

        await self._app(scope, receive, send_with_id)


def request_id(connection: HTTPConnection) -> str:
    """The id of a request, or of the connection of a WebSocket."""
    return str(connection.state.request_id)
