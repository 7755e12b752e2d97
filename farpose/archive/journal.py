"""The folder of a job that is not finished: what it is, and the parts that are done.

`OUTPUT.parts/` holds `job.json`, a lock, and parts `part-00000000`, which are complete: each is
written under another name, brought to the disk, and renamed. A job that is killed therefore loses
at most the part it was writing, and the next run goes on behind the last one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from farpose.archive.records import BEGIN, END, DamagedPartError, Record, frame_of, records
from farpose.pipeline import PoseResult
from farpose.sources import Frame

PART: Final = "part-"
_UNFINISHED: Final = "unfinished-"
_JOB: Final = "job.json"
_LOCK: Final = "lock"
MARKS: Final = ("merging", "finished")
"""What `farpose.archive.merge` says about the output."""


class JournalError(ValueError):
    """A job cannot go on, or its folder cannot be written; the message says what to do."""


@dataclass(frozen=True)
class Identity:
    """Which content of which file results are of."""

    path: str
    """Absolute."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path) -> Self:
        """What the file is now; no size and no time where it cannot be reached from here."""
        try:
            status = file.stat()
        except OSError:
            return cls(str(file.absolute()), -1, -1)
        return cls(str(file.absolute()), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class _Span:
    """Consecutive frames of a file in a part: bytes of the part."""

    part: Path
    start: int
    end: int


@dataclass
class Kept:
    """What is kept of one file."""

    identity: Identity
    frames: int = 0
    """Done, from its beginning."""

    ended: bool = False
    failure: str | None = None
    """Why the file could not be read to its end."""

    spans: list[_Span] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.ended and self.failure is None


class Journal:
    """The folder of a job; `open_journal` makes it.

    Args:
        folder: exists, and is this process's alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Kept] = {}
        self._parts = 0
        for leftover in folder.iterdir():
            if not leftover.name.startswith(PART) and leftover.name not in (_JOB, _LOCK, *MARKS):
                _remove(leftover)
        for part in sorted(folder.glob(f"{PART}*")):
            self._index(part)

    def kept(self, file: Path) -> Kept | None:
        """What is kept of a file as it is now; None if there is nothing, or it has changed."""
        identity = Identity.of(file)
        kept = self._files.get(identity.path)
        return kept if kept is not None and kept.identity == identity else None

    def changed(self, file: Path) -> bool:
        """Whether what is kept is of another content."""
        return str(file.absolute()) in self._files and self.kept(file) is None

    @property
    def empty(self) -> bool:
        """Whether no part is done."""
        return not self._parts

    def results(self, file: Path) -> Iterator[tuple[Frame, PoseResult]]:
        """The frames of a file that are done, without their pictures, in order.

        Raises:
            JournalError: a part is damaged.
        """
        kept = self.kept(file)
        for span in kept.spans if kept is not None else ():
            with span.part.open("rb") as stream, _damage_told(span.part):
                stream.seek(span.start)
                for record in records(stream, span.end):
                    yield frame_of(record.content, file)

    def add(self, content: bytes) -> None:
        """Keep the content of a part for good.

        Raises:
            JournalError: it cannot be written.
        """
        part = self.folder / f"{PART}{self._parts:08d}"
        unfinished = self.folder / f"{_UNFINISHED}{self._parts:08d}"
        try:
            with unfinished.open("wb") as stream:
                stream.write(content)
                to_disk(stream.fileno())
            unfinished.replace(part)
            folder_to_disk(self.folder)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise JournalError(
                f"{self.folder}: cannot be written ({error.strerror}); what is done so far is kept "
                "there: make room, then run the same command again to go on"
            ) from error
        self._index(part)

    def remove(self) -> None:
        """The job is over: nothing is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _index(self, part: Path) -> None:
        """Take up what a part holds; its frames stay on the disk."""
        self._parts = int(part.name.removeprefix(PART)) + 1
        current: Kept | None = None
        with part.open("rb") as stream, _damage_told(part):
            start = before = 0
            for record in records(stream):
                if record.kind == BEGIN:
                    _close_span(current, part, start, before)
                    current, start = self._begin(record), stream.tell()
                elif current is None:
                    raise DamagedPartError("it begins in the middle")
                elif record.kind == END:
                    _close_span(current, part, start, before)
                    current.ended, current.failure = True, record.facts()["failure"]
                    start = stream.tell()
                else:
                    current.frames += 1
                before = stream.tell()
            _close_span(current, part, start, stream.tell())

    def _begin(self, record: Record) -> Kept:
        facts = record.facts()
        first = facts.pop("first")
        identity = Identity(**facts)
        kept = self._files.get(identity.path)
        if first and (kept is None or kept.identity != identity or kept.frames != first):
            raise DamagedPartError(f"frames of {identity.path} before {first} are missing")
        if not first or kept is None:
            kept = self._files[identity.path] = Kept(identity)
        return kept


@contextlib.contextmanager
def open_journal(
    folder: Path, job: Mapping[str, Any], *, restart: bool = False
) -> Iterator[Journal]:
    """The journal of a job, new or as an earlier run left it.

    At the end the folder is removed where nothing in it is worth keeping.

    Args:
        folder: of the job.
        job: what the results depend on besides the files, ready for JSON.
        restart: forget what an earlier run left.

    Raises:
        JournalError: another process has the job, the folder holds one with other options, or
            cannot be written.
    """
    if folder.exists() and not (folder / _LOCK).is_file() and any(folder.iterdir()):
        raise JournalError(f"{folder}: is not the folder of an unfinished job: move it away")
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise JournalError(f"{folder}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"{folder}: another process is working on it") from error
        if restart:
            for old in folder.iterdir():
                if old.name != _LOCK:
                    _remove(old)
        _check_job(folder / _JOB, dict(job))
        journal = Journal(folder)
        try:
            yield journal
        finally:
            if journal.empty:
                journal.remove()


def to_disk(descriptor: int) -> None:
    """Wait until a file's content is on the disk."""
    os.fsync(descriptor)


def folder_to_disk(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_job(path: Path, job: dict[str, Any]) -> None:
    job = json.loads(json.dumps(job))
    if path.exists():
        try:
            kept = json.loads(path.read_text())
        except ValueError:
            kept = {}
        if kept != job:
            other = [name for name in job if kept.get(name) != job[name]]
            told = ", ".join(f"{name} was {kept.get(name)}, now {job[name]}" for name in other)
            raise JournalError(
                f"{path.parent}: holds an unfinished job with other options ({told}): give the "
                "same ones to go on, or --restart to begin anew"
            )
        return
    unfinished = path.with_name(f"{_UNFINISHED}{_JOB}")
    try:
        unfinished.write_text(json.dumps(job, indent=1) + "\n")
        unfinished.replace(path)
    except OSError as error:
        raise JournalError(f"{path}: cannot be written ({error.strerror})") from error


def _close_span(kept: Kept | None, part: Path, start: int, end: int) -> None:
    if kept is not None and end > start:
        kept.spans.append(_Span(part, start, end))


@contextlib.contextmanager
def _damage_told(part: Path) -> Iterator[None]:
    try:
        yield
    except (DamagedPartError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise JournalError(f"{part}: {error}: --restart begins anew") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
