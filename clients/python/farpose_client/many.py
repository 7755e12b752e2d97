"""Many pieces of work at once, their results in order, with threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    items: Iterable[Item], work: Callable[[Item], Result], concurrency: int
) -> Generator[Result, None, None]:
    """Results in the order of the items; see `async_many.in_order`."""
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="farpose-client")
    futures: deque[Future[Result]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(work, item))
            if len(futures) >= 2 * concurrency:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
