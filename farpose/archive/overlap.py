"""Several items in work at once, their results in order: decoding goes on while models run."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT: Final = 8
"""Frames that are decoded and not yet handed on, enough for the pose model to have a batch."""

_NO_MORE: Final = object()


@dataclass(frozen=True)
class _Ended:
    """Nothing more comes: the items are at their end, or something was raised."""

    error: BaseException | None = None


def overlapped(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    *,
    in_flight: int = IN_FLIGHT,
) -> Generator[tuple[Item, Result], None, None]:
    """Items with what `work` made of them, in order.

    The items are taken in one thread, `work` runs on an event loop in another, started in their
    order; the caller has its own. Closing the iterator ends all of them and closes the items.

    Args:
        items: taken only when fewer than `in_flight` are between here and the caller, so memory
            does not grow with their number.
        work: what is done with each.
        in_flight: most items that are taken and not yet handed on.

    Raises:
        Exception: what the items or `work` raised, after the results of the items before.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight is {in_flight}: it must be at least 1")
    lane = _Lane(items, work, in_flight)
    thread = threading.Thread(target=lane.run, name="overlapped")
    thread.start()
    try:
        yield from lane.results()
    finally:
        lane.stop()
        thread.join()


class _Lane(Generic[Item, Result]):
    """The two threads' common state."""

    def __init__(
        self, items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], in_flight: int
    ) -> None:
        self._items = iter(items)
        self._work = work
        self._in_flight = in_flight
        self._done: queue.SimpleQueue[tuple[Item, Result] | _Ended] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(in_flight)

    def run(self) -> None:
        """The thread of the event loop, from its beginning to its end."""
        ended = _Ended()
        try:
            asyncio.run(self._drive())
        except asyncio.CancelledError:
            pass  # the caller has enough
        except BaseException as error:  # noqa: BLE001 (raised again where the results are taken)
            ended = _Ended(error)
        finally:
            self._ready.set()
            self._done.put(ended)

    def results(self) -> Iterator[tuple[Item, Result]]:
        """What is done, in order."""
        while True:
            done = self._done.get()
            if isinstance(done, _Ended):
                if done.error is not None:
                    raise done.error
                return
            yield done
            if self._loop is not None:
                # The loop is closed where the last result is out already.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._slots.release)

    def stop(self) -> None:
        """End the loop if it still runs."""
        self._ready.wait()
        if self._loop is not None and self._main is not None:
            with contextlib.suppress(RuntimeError):  # it is closed already
                self._loop.call_soon_threadsafe(self._main.cancel)

    async def _drive(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        started: asyncio.Queue[tuple[Item, asyncio.Task[Result]] | _Ended] = asyncio.Queue()
        reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        feeding = asyncio.create_task(self._feed(started, reader))
        try:
            while not isinstance(following := await started.get(), _Ended):
                item, task = following
                self._done.put((item, await task))
            if following.error is not None:
                raise following.error
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            rest = [task for item, task in _rest(started)]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            close = getattr(self._items, "close", None)
            if close is not None:
                reader.submit(close)
            reader.shutdown()

    async def _feed(
        self,
        started: asyncio.Queue[tuple[Item, asyncio.Task[Result]] | _Ended],
        reader: ThreadPoolExecutor,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._slots.acquire()
                item: Any = await loop.run_in_executor(reader, next, self._items, _NO_MORE)
                if item is _NO_MORE:
                    break
                started.put_nowait((item, asyncio.create_task(_awaited(self._work, item))))
        except Exception as error:  # noqa: BLE001 (raised again in its place among the results)
            started.put_nowait(_Ended(error))
        else:
            started.put_nowait(_Ended())


async def _awaited(work: Callable[[Item], Awaitable[Result]], item: Item) -> Result:
    return await work(item)


def _rest(
    started: asyncio.Queue[tuple[Item, asyncio.Task[Result]] | _Ended],
) -> Iterator[tuple[Item, asyncio.Task[Result]]]:
    while not started.empty():
        following = started.get_nowait()
        if not isinstance(following, _Ended):
            yield following
