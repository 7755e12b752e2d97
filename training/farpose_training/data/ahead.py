"""Making batches ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from farpose_training.data.batch import Batch

AHEAD = 2
"""Batches that each background thread makes ahead."""


def made_ahead(
    make: Callable[[NDArray[np.intp]], Batch], chunks: NDArray[np.intp], threads: int
) -> Iterator[Batch]:
    """`make` of every row of `chunks`, in order, a few ahead in background threads."""
    with ThreadPoolExecutor(threads, thread_name_prefix="loader") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(make, chunk))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
