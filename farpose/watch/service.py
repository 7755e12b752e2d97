"""Who finds the people of a camera's pictures: a service, over one `WS /stream` for each camera."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import msgspec

from farpose.watch.backoff import Backoff
from farpose.watch.finders import Answer, AwayError, FatalError, Finder, UnansweredError
from farpose.watch.pictures import Picture
from farpose_client import AsyncClient, AsyncStream, FarposeError, StreamReply, TooLargeError

ANSWER_SECONDS: Final = 20.0
"""A service that does not answer a picture for so long counts as away."""

_PASSED_ON: Final = frozenset({"image", "models", "keypoint_names", "people", "timing_ms"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceSettings:
    """Which service, and what it is asked."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    options: dict[str, Any] = field(default_factory=dict)
    """Those of `PoseOptions` that were given; the service has defaults of its own."""

    attempts: int = 0
    """The service is given up after so many failed attempts in a row; 0 never gives up."""

    jpeg_quality: int = 90


class ServiceFinders:
    """Streams of one service."""

    at_once = 0

    def __init__(self, client: AsyncClient, settings: ServiceSettings) -> None:
        self.settings = settings
        self._client = client
        self.trouble = ""

    @asynccontextmanager
    async def camera(self, name: str) -> AsyncIterator[Finder]:
        """See `Finders.camera`."""
        finder = _ServiceFinder(self)
        try:
            yield finder
        finally:
            await finder.hang_up()

    def open(self) -> AsyncStream:
        """A stream that is not connected yet."""
        return self._client.stream(reconnect=False, **self.settings.options)

    def encoded(self, picture: Picture) -> bytes:
        """The picture as JPEG."""
        image = cv2.cvtColor(picture.rgb(), cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.settings.jpeg_quality]
        return cv2.imencode(".jpg", image, quality)[1].tobytes()

    def says(self, trouble: str) -> None:
        """Note why the service does not answer, or with "" that it does; a change is logged."""
        if trouble and not self.trouble:
            logger.warning("the service is away: %s", trouble)
        elif self.trouble and not trouble:
            logger.info("the service answers again")
        self.trouble = trouble


class _ServiceFinder:
    """One camera's stream, connected anew when it is lost."""

    def __init__(self, service: ServiceFinders) -> None:
        self._service = service
        self._stream: AsyncStream | None = None
        self._backoff = Backoff(first=0.5, longest=10.0)
        self._pause = 0.0

    async def ready(self) -> None:
        """See `Finder.ready`."""
        while self._stream is None:
            await asyncio.sleep(self._pause)
            stream = self._service.open()
            try:
                self._stream = await stream.__aenter__()
            except FarposeError as error:
                self._lost(error)

    async def find(self, picture: Picture) -> Answer:
        """See `Finder.find`."""
        if self._stream is None:
            raise AwayError
        content = await asyncio.to_thread(self._service.encoded, picture)
        try:
            await self._stream.send(content, timestamp=picture.timestamp)
            reply = await self._stream.receive(ANSWER_SECONDS)
        except FarposeError as error:
            if error.frame is not None:
                raise UnansweredError(str(error)) from error
            await self.hang_up()
            if isinstance(error, TooLargeError):  # the service hung up because of this picture
                self._pause = self._backoff.failed()
                raise UnansweredError(str(error)) from error
            self._lost(error)
            raise AwayError from error
        self._backoff.succeeded()
        self._pause = 0.0
        self._service.says("")
        return answer_of(reply)

    async def hang_up(self) -> None:
        """Close the stream."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(FarposeError, OSError):
                await stream.close()

    def _lost(self, error: FarposeError) -> None:
        """Choose when to connect again; `FatalError` if there is no use in it."""
        if not error.retryable:
            raise FatalError(str(error)) from error
        failures, attempts = self._backoff.failures + 1, self._service.settings.attempts
        if attempts and failures >= attempts:
            raise FatalError(f"{error}; given up after {failures} attempts") from error
        self._pause = max(self._backoff.failed(), error.retry_after or 0.0)
        self._service.says(str(error))


def answer_of(reply: StreamReply) -> Answer:
    """A reply as it would be answered in this process."""
    document = msgspec.to_builtins(reply)
    for person in document["people"]:
        for name in ("track_id", "variances"):
            if person.get(name) is None:
                person.pop(name, None)
    return {name: value for name, value in document.items() if name in _PASSED_ON}


@asynccontextmanager
async def serviced(settings: ServiceSettings) -> AsyncIterator[ServiceFinders]:
    """A client of the service; `FatalError` if the address or key cannot be one."""
    try:
        client = AsyncClient(settings.url, api_key=settings.api_key)
    except ValueError as error:
        raise FatalError(str(error)) from None
    async with client:
        yield ServiceFinders(client, settings)
