"""How far a job is, on stderr: a line rewritten on a terminal, one now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from farpose.sources import Frame

TERMINAL_SECONDS: Final = 0.2
LOG_SECONDS: Final = 30.0
"""Between two lines in a log; a job that is shorter has none."""

_SETTLING: Final = 2.0
"""Seconds before what is left is estimated."""


class ProgressLine:
    """What is done, what is left, how fast, and when it will be over.

    What is left is told from the sizes of the files: they are known before any is opened.

    Args:
        files: to be done.
        stream: usually stderr.
        clock: seconds.
    """

    def __init__(
        self,
        files: Sequence[Path],
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._sizes = {file: _size(file) for file in files}
        self._total = sum(self._sizes.values())
        self._files = 0
        self._bytes = 0
        self._frames = 0
        self._start = self._shown = clock()
        self._base = 0.0

    def skip(self, file: Path, share: float = 1.0) -> None:
        """So much of a file was done by an earlier run."""
        self._base += self._sizes[file] * share
        if share == 1:
            self._files += 1
            self._bytes += self._sizes[file]

    def frame(self, frame: Frame) -> None:
        """A frame is done."""
        self._frames += 1
        share = 0.0
        place = ""
        if frame.index is not None:
            place = f" frame {frame.index + 1}"
            if frame.frames:
                place += f" of {frame.frames}"
                share = min(1.0, (frame.index + 1) / frame.frames)
        self._show(f"{frame.source}{place}", self._bytes + share * self._sizes[frame.source])

    def end(self, file: Path) -> None:
        """A file is done or given up."""
        self._files += 1
        self._bytes += self._sizes[file]

    def say(self, text: str) -> None:
        """Something else is going on."""
        if self._terminal:
            self._write(text)

    def tell(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._stream.write(f"{text}\n")

    def clear(self) -> None:
        """Take the line away."""
        if self._terminal:
            self._write("")

    def _show(self, where: str, done: float) -> None:
        now = self._clock()
        if now - self._shown < (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._shown = now
        spent = now - self._start
        rate = self._frames / spent if spent else 0.0
        share = done / self._total if self._total else 0.0
        text = f"{share:4.0%}  {self._files} of {len(self._sizes)} files, {rate:.1f} frames/s"
        worked = done - self._base
        if spent >= _SETTLING and worked > 0:
            text += f", {_duration(spent * (self._total - done) / worked)} left"
        self._write(f"{text}  {where}")

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _size(path: Path) -> int:
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1
