"""The cameras that post pictures: who has sent one lately, and where their people were."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from farpose.tracking import CameraSession
from farpose_serving.cameras.newest import NewestTurn


class TooManyCamerasError(Exception):
    """As many cameras as allowed have a session."""


class ClockError(ValueError):
    """A camera sends some of its pictures with a timestamp and some without."""


@dataclass
class Camera:
    """One camera's session."""

    session: CameraSession
    turn: NewestTurn = field(default_factory=NewestTurn)
    last_seen: float = 0.0
    last_served: float = field(default_factory=time.monotonic)
    """When it last got an answer, or was made."""

    timestamped: bool | None = None
    """Whether its pictures carry timestamps; None before the first one."""

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Note when a picture has been answered."""
        try:
            yield
        finally:
            self.last_served = time.monotonic()

    def time_of(self, timestamp: float | None, arrival: float) -> float:
        """Seconds at which a picture was taken, by the camera's clock or else by its arrival.

        Raises:
            ClockError: earlier pictures went by the other clock.
        """
        given = timestamp is not None
        if self.timestamped is None:
            self.timestamped = given
        if self.timestamped != given:
            was = "with" if self.timestamped else "without"
            raise ClockError(
                f"timestamp: the earlier pictures of this camera came {was} one: "
                "send it with every picture or with none"
            )
        return arrival if timestamp is None else timestamp


class Cameras:
    """Sessions by the caller and his name for the camera.

    Args:
        new_session: makes a session.
        timeout: seconds after which a silent camera is forgotten.
        limit: cameras that may have a session at once, streams included.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        new_session: Callable[[], CameraSession],
        timeout: float,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._new_session = new_session
        self._timeout = timeout
        self._limit = limit
        self._clock = clock
        self._cameras: OrderedDict[tuple[str, str], Camera] = OrderedDict()
        self._streams = 0

    def __len__(self) -> int:
        self._forget()
        return len(self._cameras) + self._streams

    @asynccontextmanager
    async def camera(self, caller: str, camera_id: str) -> AsyncIterator[Camera]:
        """The camera of that name, for one of its pictures, which then waits for its turn.

        Raises:
            TooManyCamerasError: the camera is new, and there is no room.
        """
        self._forget()
        key = (caller, camera_id)
        camera = self._cameras.get(key)
        if camera is None:
            self._make_room()
            session = await self._session()
            camera = self._cameras.get(key)  # another picture may have opened it meanwhile
            if camera is None:
                self._make_room()
                camera = self._cameras[key] = Camera(session)
        self._seen(key, camera)
        try:
            yield camera
        finally:
            self._seen(key, camera)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Camera]:
        """A camera for as long as a connection lasts; `TooManyCamerasError` without room."""
        self._make_room()
        self._streams += 1
        try:
            yield Camera(await self._session())
        finally:
            self._streams -= 1

    async def _session(self) -> CameraSession:
        """A new one; the first of a process takes a second, as it imports the tracker."""
        return await asyncio.to_thread(self._new_session)

    def _seen(self, key: tuple[str, str], camera: Camera) -> None:
        camera.last_seen = self._clock()
        self._cameras.setdefault(key, camera)  # it may have been forgotten while it waited
        self._cameras.move_to_end(key)

    def _make_room(self) -> None:
        if len(self) >= self._limit:
            raise TooManyCamerasError(
                f"{self._limit} cameras have a session, as many as max_cameras allows"
            )

    def _forget(self) -> None:
        end = self._clock() - self._timeout
        for key, camera in list(self._cameras.items()):
            if camera.last_seen > end:
                return
            if not camera.turn.held:
                del self._cameras[key]
