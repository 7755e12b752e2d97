"""One camera's connection: read, answer the newest picture, drop the rest."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from fastapi import WebSocket, WebSocketDisconnect

from farpose.options import PoseOptions
from farpose.pipeline import PoseResult
from farpose_serving.cameras.messages import StreamAnswer, StreamOptions, problem_message
from farpose_serving.cameras.newest import NewestItem
from farpose_serving.cameras.registry import Camera
from farpose_serving.logs import request_id_now
from farpose_serving.problems import INTERNAL, ProblemError, describe
from farpose_serving.service import Service

SEND_SECONDS: Final = 10.0
"""A camera that does not take its answers for so long is hung up on."""

TEXT_PAUSE: Final = 0.01
WRONG_PAUSE: Final = 0.1
DROP_PAUSE: Final = 0.01
"""Seconds of rest after a text, after a text or picture that is wrong, and after a picture that a
newer one replaced: whoever floods the service fills his own buffers, and others go on. A camera
that sends 100 pictures a second is still read as fast as it sends."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """A picture that has arrived."""

    number: int
    picture: bytes
    arrival: float
    """Seconds of the monotonic clock."""

    options: StreamOptions


class Connection:
    """Answers a camera until one side hangs up.

    It holds one picture at most beside the one in work, however fast the camera sends.
    """

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        camera: Camera,
        options: StreamOptions,
        identifier: str,
        sender: str,
    ) -> None:
        self._socket = socket
        self._service = service
        self._camera = camera
        self._options = options
        self._identifier = identifier
        self._sender = sender
        self._newest: NewestItem[Frame] = NewestItem()
        self._frames = 0
        self._settled = 0
        """Pictures that were answered, with a problem perhaps, or gave way to a newer one."""

        self._dropped = 0

    async def run(self) -> None:
        """Return when the camera hangs up, or does not take its answers."""
        try:
            async with anyio.create_task_group() as group:

                async def first_ends(part: Callable[[], Awaitable[None]]) -> None:
                    try:
                        await part()
                    except TimeoutError:
                        logger.info("stream %s: the camera takes no answers", self._identifier)
                    except WebSocketDisconnect:
                        pass  # before what is read says so
                    group.cancel_scope.cancel()

                group.start_soon(first_ends, self._read)
                group.start_soon(first_ends, self._work)
        finally:
            self._service.metrics.dropped("closed", self._frames - self._settled)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (picture := message.get("bytes")) is not None:
                if self._arrived(picture):
                    await asyncio.sleep(DROP_PAUSE)
                continue
            try:
                self._options = self._options.changed(message["text"])
                await asyncio.sleep(TEXT_PAUSE)
            except ProblemError as problem:
                await self._send(json.dumps(problem_message(problem, self._identifier)))
                await asyncio.sleep(WRONG_PAUSE)

    def _arrived(self, picture: bytes) -> bool:
        """Keep a picture, instead of one that has waited if there is one."""
        frame = Frame(self._frames, picture, time.monotonic(), self._options)
        self._options = self._options.for_next()
        self._frames += 1
        if self._newest.put(frame) is None:
            return False
        self._dropped += 1
        self._settled += 1
        self._service.metrics.dropped("newer")
        return True

    async def _work(self) -> None:
        while True:
            await self._newest.wait()
            camera = self._camera
            async with self._service.admission.turn(camera.last_served), camera.served():
                frame = self._newest.take()
                if frame is None:
                    continue
                answer, wrong = await self._answer(frame)
                self._settled += 1
            await self._send(answer)
            if wrong:
                await asyncio.sleep(WRONG_PAUSE)

    async def _answer(self, frame: Frame) -> tuple[str, bool]:
        """What to send for a picture, and whether it is a problem that the camera has made."""
        identifier = f"{self._identifier}-{frame.number}"
        request_id_now.set(identifier)
        options = frame.options.pose_options()
        try:
            with (
                self._service.traced(self._socket.scope, identifier),
                self._service.counting_drops(),
            ):
                self._service.rates.count(self._sender)
                result = await self._find(frame, options)
                self._service.answered(result, "stream")
        except Exception as error:
            problem = describe(error)
            if problem.kind is INTERNAL:
                logger.exception("picture %s failed", identifier)
            message = json.dumps(problem_message(problem, identifier, frame=frame.number))
            return message, problem.kind.status < INTERNAL.status
        age = time.monotonic() - frame.arrival
        self._service.metrics.camera_frame("stream", age)
        dropped, self._dropped = self._dropped, 0
        answer = StreamAnswer.from_result(
            result,
            identifier,
            variances=options.variances,
            frame=frame.number,
            dropped=dropped,
            frame_age_ms=round(age * 1e3, 3),
        )
        return answer.model_dump_json(exclude_none=True), False

    async def _find(self, frame: Frame, options: PoseOptions) -> PoseResult:
        taken = self._camera.time_of(frame.options.timestamp, frame.arrival)
        async with asyncio.timeout(self._service.settings.deadline_ms / 1e3):
            return await self._camera.session.find(
                frame.picture, options, taken, self._service.backend.find
            )

    async def _send(self, text: str) -> None:
        """Send a text; `WebSocketDisconnect` where nobody is there, `TimeoutError` if not taken."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_text(text)
        except RuntimeError as error:  # uvicorn's, for a connection that it has closed itself
            raise WebSocketDisconnect from error
