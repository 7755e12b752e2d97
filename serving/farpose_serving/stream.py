"""`WS /stream`: the pictures of one camera in, its people out, the newest picture first."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from farpose.tracking import TrackingUnavailableError
from farpose_serving.access import address, caller, is_foreign, sent_key
from farpose_serving.cameras.connection import Connection
from farpose_serving.cameras.messages import StreamOptions, problem_message
from farpose_serving.cameras.registry import TooManyCamerasError
from farpose_serving.problems import ProblemError, describe
from farpose_serving.queries import parse_query
from farpose_serving.request_ids import request_id
from farpose_serving.service import Service, service_of

REFUSED: Final = 1008
TOO_BUSY: Final = 1013
"""Closing codes of RFC 6455 and IANA's registry."""

KEY_SECONDS: Final = 10.0
"""The first message, with the key, must come within this time."""

router = APIRouter()


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Answer a camera's pictures until one side hangs up."""
    if is_foreign(socket, socket.app.state.cors_origins):
        await socket.close(REFUSED)  # not accepted: the handshake is answered with 403
        return
    await socket.accept()
    identifier = request_id(socket)
    try:
        service = service_of(socket)
        name = caller(service.keys, await _key(socket, service))
        options = parse_query(socket.query_params, StreamOptions)
        async with service.cameras.stream() as camera:
            sender = name or address(socket)
            await Connection(socket, service, camera, options, identifier, sender).run()
    except (ProblemError, TooManyCamerasError, TrackingUnavailableError) as error:
        await _refuse(socket, describe(error), identifier)
    except WebSocketDisconnect:
        pass  # before it said who it is
    except asyncio.CancelledError:
        pass  # the service stops, and the stream has not ended within its time: uvicorn has said so


async def _refuse(socket: WebSocket, problem: ProblemError, identifier: str) -> None:
    # uvicorn's error for a connection that it has closed itself, after what is no WebSocket.
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_json(problem_message(problem, identifier))
        busy = problem.kind.status >= 500
        await socket.close(TOO_BUSY if busy else REFUSED, problem.kind.title)


async def _key(socket: WebSocket, service: Service) -> str | None:
    """The key in the handshake or, as pages cannot send headers there, in a first message."""
    key = sent_key(socket)
    if key is not None or service.keys is None:
        return key
    try:
        with service.strangers.place():
            async with asyncio.timeout(KEY_SECONDS):
                message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        given = json.loads(message.get("text") or "")
    except (TimeoutError, ValueError, RecursionError):
        return None
    key = given.get("api_key") if isinstance(given, dict) else None
    return key if isinstance(key, str) else None
