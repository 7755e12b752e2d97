"""Newest wins: what waits is dropped as soon as something newer comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SupersededError(Exception):
    """A newer picture of the same camera has taken the place of one that waited, or would have."""


@dataclass(frozen=True)
class _Waiting:
    """A picture whose work has not begun."""

    taken: float
    limit: asyncio.Timeout
    """Ends its waiting."""


class NewestTurn:
    """One picture of a camera is in work, at most one waits, and a newer one takes its place.

    What counts is when a picture was taken, not when it came.
    """

    def __init__(self) -> None:
        self._work = asyncio.Lock()
        self._waiting: _Waiting | None = None

    @property
    def held(self) -> bool:
        """Whether a picture is in work or waits."""
        return self._work.locked() or self._waiting is not None

    @asynccontextmanager
    async def hold(self, taken: float) -> AsyncIterator[Callable[[], None]]:
        """The turn of a picture; call what is yielded once its work begins.

        Until then a newer one takes its place, even where it waits for something else inside.

        Args:
            taken: seconds, by any clock that goes with the camera.

        Raises:
            SupersededError: a newer one waits already, or came while this one waited.
        """
        if self._waiting is not None:
            if taken <= self._waiting.taken:
                raise SupersededError
            self._waiting.limit.reschedule(0)  # long ago: now
        try:
            async with asyncio.timeout(None) as limit:
                mine = self._waiting = _Waiting(taken, limit)

                def begin() -> None:
                    limit.reschedule(None)
                    self._forget(mine)

                try:
                    async with self._work:
                        yield begin
                finally:
                    self._forget(mine)
        except TimeoutError:
            if limit.expired():
                raise SupersededError from None
            raise

    def _forget(self, waiting: _Waiting) -> None:
        if self._waiting is waiting:
            self._waiting = None


class NewestItem(Generic[Item]):
    """Room for one item: a newer one replaces it."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._there = asyncio.Event()

    def put(self, item: Item) -> Item | None:
        """Leave an item; the one that it replaces."""
        replaced, self._item = self._item, item
        self._there.set()
        return replaced

    async def wait(self) -> None:
        """Return when there is an item."""
        await self._there.wait()

    def take(self) -> Item | None:
        """The item, if there is one."""
        item, self._item = self._item, None
        self._there.clear()
        return item
