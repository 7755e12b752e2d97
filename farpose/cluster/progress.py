"""What a job on a cluster says of itself: how far it is, and what it gave up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterProgress:
    """How far a job is."""

    files: int
    done: int
    failed: int
    """Given up."""

    workers: int
    """That are ready."""

    def __str__(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.done} of {self.files} files done, {self.failed} failed, {workers}"


@dataclass(frozen=True)
class Failure:
    """A file that was given up."""

    path: Path
    reason: str
    """Of its last attempt."""

    attempts: int

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"{self.reason} (tried {times})"
