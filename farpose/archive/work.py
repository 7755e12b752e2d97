"""Files through the models in this process, their results into the journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farpose.archive.journal import Identity, Journal, JournalError
from farpose.archive.overlap import IN_FLIGHT, overlapped
from farpose.archive.progress import ProgressLine
from farpose.archive.records import BEGIN, END, packed_facts, packed_frame
from farpose.pipeline import PoseResult
from farpose.sources import Frame, SourceError, read_frames

Find = Callable[[Frame], Awaitable[PoseResult]]
"""Answers a frame, as `PeopleFinder` does."""

PART_SECONDS: Final = 1.0
"""A part is closed after so long, or after `PART_SHARE` of the time so far if that is longer."""

PART_SHARE: Final = 0.01
PART_BYTES: Final = 16 * 2**20


@dataclass(frozen=True)
class Start:
    """The frames that follow are of this file."""

    file: Path
    identity: Identity
    first: int


@dataclass(frozen=True)
class Finish:
    """There are no more frames of this file."""

    file: Path
    failure: str | None
    """Why it could not be read to its end."""


@dataclass(frozen=True)
class Failure:
    """A source that is not, or not wholly, in the output."""

    source: Path
    reason: str
    """Names it."""

    def __str__(self) -> str:
        return self.reason


def told(finish: Finish, progress: ProgressLine) -> list[Failure]:
    """Say that a file is done, and why it is not wholly there; that failure, if it is one."""
    progress.end(finish.file)
    if finish.failure is None:
        return []
    progress.tell(f"error: {finish.failure}")
    return [Failure(finish.file, finish.failure)]


def read_files(todo: Sequence[tuple[Path, int]]) -> Iterator[Start | Frame | Finish]:
    """Files one after another, each from a frame on; what cannot be read is said and left out."""
    for file, first in todo:
        yield Start(file, Identity.of(file), first)
        failure = None
        try:
            yield from read_frames(file, first)
        except SourceError as error:
            failure = str(error)
        except OSError as error:
            failure = f"{file}: {error.strerror or error}"
        yield Finish(file, failure)


def found(
    todo: Sequence[tuple[Path, int]], find: Find, in_flight: int = IN_FLIGHT
) -> Generator[tuple[Start | Frame | Finish, PoseResult | None], None, None]:
    """What `read_files` reads, with the people of each frame, overlapped over all files."""

    async def work(item: Start | Frame | Finish) -> PoseResult | None:
        return await find(item) if isinstance(item, Frame) else None

    return overlapped(read_files(todo), work, in_flight=in_flight)


def left_to_do(
    files: Sequence[Path], journal: Journal, *, whole: Callable[[Path], bool]
) -> list[tuple[Path, int]]:
    """Files that are not complete, and from which frame on.

    Args:
        files: of the job.
        journal: what is kept.
        whole: whether a file can only be done from its beginning to its end.
    """
    todo = []
    for file in files:
        kept = journal.kept(file)
        if kept is None or kept.failure is not None or (not kept.ended and whole(file)):
            todo.append((file, 0))
        elif not kept.ended:
            todo.append((file, kept.frames))
    return todo


def work_here(
    todo: Sequence[tuple[Path, int]], find: Find, journal: Journal, progress: ProgressLine
) -> list[Failure]:
    """Do files and keep their results; those that failed.

    What was done when something else goes wrong is kept.

    Raises:
        JournalError: results cannot be kept.
        EngineError: a model failed.
    """
    failures: list[Failure] = []
    parts = PartWriter(journal)
    try:
        with contextlib.closing(found(todo, find)) as results:
            for item, result in results:
                parts.add(item, result)
                if isinstance(item, Frame):
                    progress.frame(item)
                elif isinstance(item, Finish):
                    failures += told(item, progress)
    except JournalError:
        raise
    except BaseException:
        with contextlib.suppress(JournalError):
            parts.close()
        raise
    parts.close()
    return failures


class PartWriter:
    """Gathers results and gives them to the journal now and then."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._clock = clock
        self._content = bytearray()
        self._start = self._opened = clock()
        self._file: Start | None = None
        self._next = 0

    def add(self, item: Start | Frame | Finish, result: PoseResult | None) -> None:
        """Take the next item."""
        if isinstance(item, Start):
            self._file, self._next = item, item.first
            self._content += begin(item.identity, item.first)
        elif isinstance(item, Finish):
            self._content += packed_facts(END, failure=item.failure)
            self._file = None
        elif result is not None:
            self._content += packed_frame(item, result)
            self._next += 1
        now = self._clock()
        longest = max(PART_SECONDS, PART_SHARE * (now - self._start))
        if now - self._opened >= longest or len(self._content) >= PART_BYTES:
            self.close()
            if self._file is not None:
                self._content += begin(self._file.identity, self._next)

    def close(self) -> None:
        """Keep what there is."""
        if self._content:
            self._journal.add(bytes(self._content))
        self._content.clear()
        self._opened = self._clock()


def begin(identity: Identity, first: int) -> bytes:
    """The record that frames of a file follow."""
    return packed_facts(
        BEGIN, path=identity.path, size=identity.size, mtime_ns=identity.mtime_ns, first=first
    )
