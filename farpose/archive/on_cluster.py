"""`farpose predict --ray`: files on the workers of a cluster, their results as parts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from farpose.archive.finding import PeopleFinder, Tracking
from farpose.archive.journal import Identity, Journal
from farpose.archive.progress import ProgressLine
from farpose.archive.records import END, packed_facts, packed_frame
from farpose.archive.work import Failure, Finish, begin, found
from farpose.cluster.connection import ClusterSettings, connected
from farpose.cluster.driver import Job
from farpose.options import PoseOptions
from farpose.repository import default_repository
from farpose.sources import Frame, SourceError


@dataclass(frozen=True)
class FileReport:
    """How a file went."""

    frames: int
    failure: str | None = None
    """Why it could not be read to its end."""


@dataclass(frozen=True)
class OpenPoseWork:
    """Loads the models in a worker; it pickles."""

    options: PoseOptions
    repository: Path | None = None
    """At the same path on every machine; the one bundled with Farpose there if None."""

    tracking: Tracking | None = None

    def __call__(self, threads: int) -> PoseWork:
        """The work, with so many threads for the models.

        Raises:
            EngineError: a model cannot be loaded, or there is no such pose model.
            RepositoryError: there is no such repository.
        """
        repository = self.repository or default_repository()
        return PoseWork(PeopleFinder(repository, self.options, self.tracking, threads))


class PoseWork:
    """One process's models, applied to file after file.

    Args:
        finder: is closed with this.
    """

    def __init__(self, finder: PeopleFinder) -> None:
        self._finder = finder

    def __call__(self, path: Path, partial: Path) -> FileReport:
        """Write the records of all frames of `path` to `partial`, and how it ended.

        Raises:
            SourceError: no frame can be read.
        """
        frames, failure = 0, None
        with (
            partial.open("wb") as stream,
            contextlib.closing(found([(path, 0)], self._finder)) as results,
        ):
            for item, result in results:
                if isinstance(item, Frame) and result is not None:
                    stream.write(packed_frame(item, result))
                    frames += 1
                elif isinstance(item, Finish):
                    failure = item.failure
            stream.write(packed_facts(END, failure=failure))
        if not frames and failure is not None:
            raise SourceError(failure)
        return FileReport(frames, failure)

    def close(self) -> None:
        """Free the models."""
        self._finder.close()


def work_on_cluster(
    todo: Sequence[Path],
    work: OpenPoseWork,
    settings: ClusterSettings,
    journal: Journal,
    progress: ProgressLine,
) -> list[Failure]:
    """Do files on a cluster and keep the results of each when they come; those that failed.

    Args:
        todo: each from its beginning; workers open them under their absolute paths.
        work: what is done with each.
        settings: which cluster, how many workers.
        journal: takes the results.
        progress: takes one line at a time.

    Raises:
        ClusterError: the cluster cannot be used.
        JournalError: results cannot be kept.
    """
    failures = []
    # What the results are of is told here, not by machines whose clocks and copies may differ.
    identities = [Identity.of(file) for file in todo]

    def keep(number: int, content: bytes, report: FileReport) -> None:
        journal.add(begin(identities[number], 0) + content)
        if report.failure is not None:
            progress.tell(f"error: {report.failure}")
            failures.append(Failure(todo[number], report.failure))

    progress.say(f"starting workers ({settings.address})")
    # Ray prints on stdout that a worker died, where the results may go.
    with contextlib.redirect_stdout(sys.stderr), connected(settings) as cluster:
        absolute = [file.absolute() for file in todo]
        job = Job(cluster, work, keep, lambda now: progress.say(str(now)))
        lost = job.run(absolute)
    for failure in lost:
        progress.tell(f"error: {failure}")
        failures.append(Failure(failure.path, str(failure)))
    return failures
