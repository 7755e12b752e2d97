"""From the parts to the output, in the order of the sources."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from farpose.archive.journal import Identity, Journal, folder_to_disk, to_disk
from farpose.archive.overlap import overlapped
from farpose.archive.progress import ProgressLine
from farpose.archive.work import Failure
from farpose.outputs import Output, OutputWriteError
from farpose.overlays import OverlayError
from farpose.pipeline import PoseResult
from farpose.sources import Frame, SourceError, read_frames

_MERGING: Final = "merging"
_FINISHED: Final = "finished"


def parts_folder(output: Path) -> Path:
    """Where the parts of an output are until it is finished."""
    whole = output.resolve()
    return whole.with_name(f"{whole.name}.parts")


def merge(
    files: Sequence[Path], journal: Journal, sink: Output, progress: ProgressLine, *, drawn: bool
) -> list[Failure]:
    """Write all results to an output; the files that could not be written.

    Args:
        files: in the order of the output.
        journal: has their results.
        sink: opened by the caller.
        progress: told of each file.
        drawn: whether the sink draws, so that the frames are decoded once more.

    Raises:
        JournalError: a part is damaged.
        OutputWriteError: the output cannot be written.
    """
    failures = []
    for file in files:
        progress.say(f"writing {file}")
        try:
            if journal.changed(file):
                raise SourceError(f"{file}: it changed while it was processed")
            for frame, result in _with_pictures(file, journal) if drawn else journal.results(file):
                sink.write(frame, result)
        except (SourceError, OverlayError) as error:
            progress.tell(f"error: {error}")
            failures.append(Failure(file, str(error)))
    return failures


def _with_pictures(file: Path, journal: Journal) -> Iterator[tuple[Frame, PoseResult]]:
    async def ready(frame: Frame) -> Frame:
        return frame

    with contextlib.closing(overlapped(read_frames(file), ready)) as frames:
        for _, result in journal.results(file):
            frame, _ = next(frames, (None, None))
            if frame is None or frame.image.shape[:2] != (result.height, result.width):
                raise SourceError(f"{file}: it changed while it was processed")
            yield frame, result


def mark_merging(journal: Journal) -> None:
    """What is in the output's folder from now on is this job's own."""
    (journal.folder / _MERGING).touch()


def is_merging(parts: Path) -> bool:
    """Whether a run was killed after `mark_merging`."""
    return (parts / _MERGING).is_file()


def digest_of_job(job: Mapping[str, Any], content: str, files: Sequence[Path]) -> str:
    """Changes with anything that an output depends on.

    Args:
        job: what the results depend on besides the files, ready for JSON.
        content: what is written of them.
        files: in the order of the output, named as in it; as they are now.
    """
    digest = hashlib.sha256(json.dumps([job, content], sort_keys=True).encode())
    for file in files:
        digest.update(json.dumps([str(file), *astuple(Identity.of(file))]).encode())
    return digest.hexdigest()


def put_in_place(
    journal: Journal,
    merged: Path,
    output: Path,
    failures: Sequence[Failure],
    job: str,
) -> None:
    """Let the merged file take the output's name, and remove the parts.

    Args:
        journal: of the job.
        merged: the file, or the output's folder.
        output: where it belongs.
        failures: the files that are not in it.
        job: its `digest_of_job`.

    Raises:
        OutputWriteError: it cannot be written.
    """
    try:
        if merged.is_file():
            with merged.open("rb") as stream:
                to_disk(stream.fileno())
            _mark_finished(journal.folder, merged, failures, job)
            merged.replace(output)
            folder_to_disk(output.parent)
        elif output.is_dir():
            _mark_finished(journal.folder, output, failures, job)
    except OSError as error:
        raise OutputWriteError(output, error) from error
    _clean(journal.folder)


def finished_before(parts: Path, output: Path, job: str) -> list[Failure] | None:
    """Finish the removal of the parts of a job whose output is in its place, whichever it was.

    Returns:
        The files that are not in the output if its `digest_of_job` is `job`, or else None.
    """
    try:
        mark = json.loads((parts / _FINISHED).read_text())
        if mark["output"] != _identity(output):
            return None
    except (OSError, ValueError):
        return None
    _clean(parts)
    if mark.get("job") != job:
        return None
    return [Failure(Path(source), reason) for source, reason in mark["failures"]]


def _mark_finished(folder: Path, merged: Path, failures: Sequence[Failure], job: str) -> None:
    mark = {
        "job": job,
        "output": _identity(merged),
        "failures": [[str(failure.source), failure.reason] for failure in failures],
    }
    unfinished = folder / f"unfinished-{_FINISHED}"
    unfinished.write_text(json.dumps(mark))
    unfinished.replace(folder / _FINISHED)


def _identity(path: Path) -> list[int]:
    """Stays the same when a file is renamed; of a folder only which one it is."""
    status = path.stat()
    if path.is_dir():
        return [status.st_dev, status.st_ino]
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def _clean(folder: Path) -> None:
    """Remove the parts, the mark last: a kill in the middle is found out by `finished_before`."""
    for path in folder.iterdir():
        if path.name != _FINISHED:
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        (folder / _FINISHED).unlink()
    folder.rmdir()
