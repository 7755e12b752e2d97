"""Which file goes to which worker next, and how often a failed one is tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    worker: int
    """Number of the worker, never used twice in a job."""

    node: str
    """The machine, as Ray names it."""


@dataclass
class _Tries:
    """What became of one file so far."""

    count: int = 0
    workers: set[int] = field(default_factory=set)
    """That failed on it."""

    nodes: set[str] = field(default_factory=set)
    """That cannot reach it."""


class Schedule:
    """Hands out files, the largest first, so that no worker is left with a long one at the end.

    Args:
        files: in source order; the index of a file is its number.
        attempts: a file is given up after so many failures.
    """

    def __init__(self, files: Sequence[Path], attempts: int) -> None:
        self._attempts = attempts
        self._tries = [_Tries() for _ in files]
        self._waiting = deque(sorted(range(len(files)), key=lambda i: (-_size(files[i]), i)))

    def __len__(self) -> int:
        """Files that wait for a worker."""
        return len(self._waiting)

    def take(self, place: Place, others: Sequence[Place]) -> int | None:
        """The next file for a worker; None if what is left is for other workers.

        A file goes back to a worker that failed on it only where no other may have it.
        """
        for number in self._waiting:
            tries = self._tries[number]
            if place.node in tries.nodes:
                continue
            if place.worker in tries.workers and any(self._fresh(tries, o) for o in others):
                continue
            self._waiting.remove(number)
            return number
        return None

    def failed(self, number: int, place: Place) -> bool:
        """A worker failed on the file; whether it will be tried again."""
        tries = self._tries[number]
        tries.count += 1
        tries.workers.add(place.worker)
        if tries.count >= self._attempts:
            return False
        # Before the others: what fails should be known early.
        self._waiting.appendleft(number)
        return True

    def unreachable(self, number: int, place: Place) -> None:
        """The worker's machine cannot reach the file: it waits for a worker on another one."""
        self._tries[number].nodes.add(place.node)
        self._waiting.appendleft(number)

    def give_up(self) -> list[int]:
        """Take out all that wait."""
        rest = sorted(self._waiting)
        self._waiting.clear()
        return rest

    @staticmethod
    def _fresh(tries: _Tries, place: Place) -> bool:
        return place.worker not in tries.workers and place.node not in tries.nodes


def _size(path: Path) -> int:
    """Bytes of a file; 0 where this machine does not reach it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
