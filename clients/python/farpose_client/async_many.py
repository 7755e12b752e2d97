"""Many pieces of work at once, their results in order, for asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    concurrency: int,
) -> AsyncGenerator[Result, None]:
    """Results in the order of the items.

    At most `concurrency` items are in work, and twice as many taken from `items` and not handed
    out, so memory has a bound however many there are.

    Args:
        items: taken one by one, as there is room.
        work: done on each.
        concurrency: at least 1.
    """
    places = asyncio.Semaphore(concurrency)

    async def one(item: Item) -> Result:
        async with places:
            return await work(item)

    tasks: deque[asyncio.Task[Result]] = deque()
    try:
        async for item in _each(items):
            tasks.append(asyncio.create_task(one(item)))
            if len(tasks) >= 2 * concurrency:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
