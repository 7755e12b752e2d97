"""One picture of a camera, and the room for one between the camera and who looks at it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Picture:
    """A decoded picture; its colours are converted when it is looked at."""

    frame: av.VideoFrame
    number: int
    """Among the pictures that the source has given, from 0."""

    timestamp: float
    """Seconds: in the file, or since the camera was first opened. Later than the one before."""

    time: datetime
    """When it was read, UTC."""

    arrival: float
    """The same, in seconds of the monotonic clock."""

    def rgb(self) -> NDArray[np.uint8]:
        """`[H,W,3]` UINT8 RGB as displayed: what the file says of its rotation is applied."""
        image = self.frame.to_ndarray(format="rgb24")
        quarters = round(self.frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, quarters) if quarters else image, np.uint8)


@dataclass
class Slot:
    """Room for one picture, left by a thread and taken in the event loop.

    Args:
        loop: where it is taken.
        wait: whether who leaves a picture waits until the one before was taken; otherwise the
            newer one takes its place.
    """

    loop: asyncio.AbstractEventLoop
    wait: bool = False
    dropped: int = 0
    """Pictures that gave way to a newer one, ever."""

    _picture: Picture | None = None
    _closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, picture: Picture) -> None:
        """Leave a picture; from the thread."""
        with self._changed:
            while self.wait and self._picture is not None and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if self._picture is None:
                self._tell()
            else:
                self.dropped += 1
            self._picture = picture

    def close(self) -> None:
        """Nothing more comes; what is there can still be taken. From anywhere, more than once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._tell()

    async def filled(self) -> bool:
        """Wait for a picture; False when none will come."""
        while True:
            with self._changed:
                if self._picture is not None:
                    return True
                if self._closed:
                    return False
                self._wake.clear()
            await self._wake.wait()

    def take(self) -> Picture | None:
        """The picture, if there is one."""
        with self._changed:
            picture, self._picture = self._picture, None
            self._changed.notify_all()
            return picture

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._wake.set)
