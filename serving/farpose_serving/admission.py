"""How many pictures are in work at once, and how many may wait: memory and waiting have bounds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from farpose_serving.problems import OVERLOADED, RETRY, ProblemError

LATEST: Final = 0.1
"""Weight of the latest picture in the mean time of one."""

IN_TIME: Final = 0.7
"""Part of a deadline within which an answer must be expected."""


class Admission:
    """Turns for a limited number of pictures at once; who has waited longest is next.

    Args:
        running: pictures in work at once.
        waiting: requests that may be here without a turn.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._at_once = self._free = running
        self._seconds = 0.0  # that a picture is in work, a running mean
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._room = running + waiting
        self.places = 0
        """Requests that are here, whether or not it is their turn."""

        self.running = 0
        """Pictures in work."""

        self.waiting = 0
        """Pictures that wait for their turn."""

    @contextmanager
    def place(self, within: float = math.inf) -> Iterator[None]:
        """Room for one request, from before its body is read until it is answered.

        Args:
            within: seconds after which the answer is of no use.

        Raises:
            ProblemError: 503, there is none, or so many are ahead that it would wait in vain.
        """
        if self.places >= self._room:
            detail = "Too many requests are waiting: try again a little later."
            raise ProblemError(OVERLOADED, detail, RETRY)
        ahead = max(self.places, self.running + self.waiting)
        expected = self._seconds * (ahead + 1) / max(self._at_once, 1)  # of strangers none has one
        if ahead >= self._at_once and expected > IN_TIME * within:
            detail = (
                f"{ahead} pictures are ahead: the answer would come after some {expected:.1f} s, "
                f"and is of no use after {within:.1f} s. Try again a little later."
            )
            later = max(1, math.ceil(expected - IN_TIME * within))
            raise ProblemError(OVERLOADED, detail, {"Retry-After": str(later)})
        self.places += 1
        try:
            yield
        finally:
            self.places -= 1

    @asynccontextmanager
    async def turn(self, since: float | None = None) -> AsyncIterator[None]:
        """The right to work on one picture.

        Args:
            since: when this sender was last served, in seconds of the monotonic clock; now, if it
                is a request of its own. Whoever has waited longest since then is next, so that a
                camera that always has a new picture takes no turn from those that seldom have one.
        """
        self.waiting += 1
        try:
            await self._acquire(time.monotonic() if since is None else since)
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            seconds = time.monotonic() - started
            self._seconds += (seconds - self._seconds) * (LATEST if self._seconds else 1.0)
            self._pass_on()

    async def _acquire(self, since: float) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (since, next(self._order), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it was our turn already
            raise

    def _pass_on(self) -> None:
        while self._queue:
            *_, next_one = heapq.heappop(self._queue)
            if not next_one.done():  # done: it was cancelled
                next_one.set_result(None)
                return
        self._free += 1
