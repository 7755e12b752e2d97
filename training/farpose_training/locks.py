"""Locks on files, which the system takes back from a process that ends in whatever way."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, busy: Exception | None = None) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there.

    Args:
        path: of the lock; its folder exists.
        busy: raised if another process holds it; where none is given, that one is waited for.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise busy or error from None
        yield
