"""Memory of a server while something is done to it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

import numpy as np

from farpose_serving.benchmarks.servers import Server

SECONDS: Final = 1.0
"""Between two looks."""

SETTLED: Final = 0.2
"""The first part of the time is left out of the slope: caches fill."""

MIB: Final = 2**20


class MemoryWatch:
    """Looks at a server's memory every second, as a context."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = threading.Event()
        self._seen: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(SECONDS):
            if self._server.alive:
                self._seen.append((time.monotonic(), self._server.resident_bytes()))

    @property
    def peak(self) -> float:
        """MiB."""
        return max((size for _, size in self._seen), default=0) / MIB

    @property
    def course(self) -> tuple[float, ...]:
        """MiB after a quarter, a half, three quarters and all of the time."""
        if not self._seen:
            return ()
        places = [max(0, len(self._seen) * i // 4 - 1) for i in (1, 2, 3, 4)]
        return tuple(self._seen[place][1] / MIB for place in places)

    def rows(self, of: str = "memory") -> list[tuple[str, str]]:
        """Lines of a report, `of` in front of each."""
        course = ", ".join(f"{size:.0f}" for size in self.course)
        return [
            (f"{of}, peak", f"{self.peak:.0f} MiB"),
            (f"{of} after each quarter of the time", f"{course} MiB"),
            (f"{of}, slope", f"{self.slope:+.1f} MiB per hour"),
        ]

    @property
    def slope(self) -> float:
        """MiB per hour, by least squares; nan where there is too little to tell."""
        settled = self._seen[int(SETTLED * len(self._seen)) :]
        if len(settled) < 3:
            return float("nan")
        times, sizes = np.array(settled, float).T
        return float(np.polyfit(times - times[0], sizes, 1)[0] * 3600 / MIB)
