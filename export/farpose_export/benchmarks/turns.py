"""Timing several ways to do the same, fairly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

WARMUP = 3


def milliseconds(
    contestants: Sequence[Callable[[], object]], repetitions: int
) -> list[list[float]]:
    """Per contestant, its time in each repetition; they take turns, so that what else the machine
    does meets all of them.

    Args:
        contestants: called without arguments.
        repetitions: that are timed, after a few that are not.
    """
    found: list[list[float]] = [[] for _ in contestants]
    for _ in range(WARMUP + repetitions):
        for contestant, times in zip(contestants, found, strict=True):
            before = time.perf_counter()
            contestant()
            times.append((time.perf_counter() - before) * 1e3)
    return [times[WARMUP:] for times in found]
