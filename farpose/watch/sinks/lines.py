"""JSON Lines: a record a line, into a file that grows or to stdout."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from farpose.watch.records import Record
from farpose.watch.sinks.queue import ClosedError, LostError, Stopping

STDOUT: Final = 1


class LinesError(ValueError):
    """The file cannot be written to."""


class LinesFile:
    """Appends to a file, or writes to stdout; every record is handed to the system at once.

    Args:
        path: of the file; None is stdout.

    Raises:
        LinesError: the file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._descriptor = STDOUT
        if path is not None:
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise LinesError(f"{path}: {error.strerror}") from None
        self._is_file = path is not None and path.is_file()
        self._torn = self._is_file and not _ends_with_a_line(path)

    def deliver(self, record: Record, stopping: Stopping) -> None:
        """See `Delivery.deliver`."""
        line = record.body + b"\n"
        if self._torn:
            line = b"\n" + line
        left = line
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BrokenPipeError:
            raise ClosedError("nobody reads the records any more") from None
        except OSError as error:
            written = len(line) - len(left)
            if written and not self._taken_back(written):
                self._torn = True
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise LostError("the disk is full" if full else str(error.strerror)) from None
        self._torn = False

    def _taken_back(self, written: int) -> bool:
        """Whether the half of a line could be removed; otherwise the next begins a new one."""
        try:
            if self._is_file:
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        except OSError:
            return False
        return self._is_file

    def finish(self, stopping: Stopping) -> int:
        """See `Delivery.finish`."""
        if self._descriptor != STDOUT:
            os.close(self._descriptor)
        return 0


def _ends_with_a_line(path: Path | None) -> bool:
    """Whether what is in the file ends with a line break, as it does unless a kill tore a line."""
    if path is None or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
