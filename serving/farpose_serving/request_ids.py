"""An id for every request: the caller's `X-Request-ID` if it is sane, or a new one."""

from __future__ import annotations

import re
import uuid
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER: Final = "X-Request-ID"

_SANE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""Ids go into logs and answers: no spaces, no line ends, nothing long."""


class RequestIds:
    """ASGI middleware that gives each request an id and puts it into the answer's header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with `state.request_id` set."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        identifier = sent if _SANE.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = identifier

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = identifier
            await send(message)

        await self._app(scope, receive, send_with_id)


def request_id(request: Request) -> str:
    """The id of a request."""
    return str(request.state.request_id)
