"""One `farpose predict` from its files to its output."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farpose.archive.finding import PeopleFinder, Tracking
from farpose.archive.journal import Journal, open_journal
from farpose.archive.merge import (
    digest_of_job,
    finished_before,
    is_merging,
    mark_merging,
    merge,
    parts_folder,
    put_in_place,
)
from farpose.archive.on_cluster import OpenPoseWork, work_on_cluster
from farpose.archive.progress import ProgressLine
from farpose.archive.targets import OutputError, Target
from farpose.archive.work import Failure, Finish, found, left_to_do, told, work_here
from farpose.cluster.connection import ClusterSettings
from farpose.options import PoseOptions
from farpose.outputs import OutputWriteError
from farpose.overlays import OverlayError
from farpose.repository import default_repository
from farpose.sources import Frame, is_video


@dataclass(frozen=True)
class ArchiveJob:
    """Files, what is done with them, and where the results go."""

    files: Sequence[Path]
    """Each once, in the order of the output."""

    target: Target
    options: PoseOptions
    tracking: Tracking | None = None
    repository: Path | None = None
    """The one bundled with Farpose if None."""

    cluster: ClusterSettings | None = None
    """Where files are done; here if None."""

    overwrite: bool = False
    """Replace an output that exists."""

    restart: bool = False
    """Forget what an earlier run of the job left."""

    on_run: Callable[[str, float, float], None] | None = None
    """Told of every run of a model here, as `OnnxRuntimeEngine` does."""

    @property
    def parts(self) -> Path | None:
        """Where results are kept until the output is finished; None where they are printed."""
        return parts_folder(self.target.path) if self.target.path is not None else None

    def run(self, progress: ProgressLine) -> list[Failure]:
        """Do what is left to do; the files that are not, or not wholly, in the output.

        Raises:
            OutputError: the output exists.
            OutputWriteError: it cannot be written.
            JournalError: the parts cannot be used or written.
            ClusterError: the cluster cannot be used.
            EngineError: a model cannot be loaded, or failed.
        """
        if self.target.path is None or self.parts is None:
            return self._print(progress)
        return self._keep(self.target.path.resolve(), self.parts, progress)

    def _print(self, progress: ProgressLine) -> list[Failure]:
        """Write results as they come, or, from a cluster, when all are there."""
        if self.cluster is not None:
            with tempfile.TemporaryDirectory(prefix="farpose-parts-") as folder:
                journal = Journal(Path(folder))
                failures = self._work(journal, progress)
                with _written("the output"), self.target.open(Path()) as sink:
                    return failures + merge(self.files, journal, sink, progress, drawn=False)
        failures = []
        with (
            self._finder() as finder,
            contextlib.closing(found([(file, 0) for file in self.files], finder)) as results,
            _written("the output"),
            self.target.open(Path()) as sink,
        ):
            for item, result in results:
                if isinstance(item, Frame) and result is not None:
                    progress.clear()
                    sink.write(item, result)
                    progress.frame(item)
                elif isinstance(item, Finish):
                    failures += told(item, progress)
        return failures

    def _keep(self, output: Path, parts: Path, progress: ProgressLine) -> list[Failure]:
        """Keep results in parts, and merge them when all are there."""
        job = self._identity()
        digest = digest_of_job(job, self.target.content, self.files)
        earlier = None if self.restart else finished_before(parts, output, digest)
        if earlier is not None:
            progress.tell(f"{self.target.path}: was finished by the run before")
            return earlier
        if self.target.exists and not self.overwrite and not is_merging(parts):
            raise OutputError(
                f"{self.target.path}: exists and would be overwritten: give another --output, or "
                "--overwrite to replace it"
            )
        with open_journal(parts, job, restart=self.restart) as journal:
            failures = self._work(journal, progress)
            merged = output
            if self.target.folder:
                mark_merging(journal)
            else:
                merged = parts / f"merged{output.suffix}"
            with _written(self.target.path or output):
                try:
                    with self.target.open(merged) as sink:
                        failures += merge(
                            self.files, journal, sink, progress, drawn=self.target.drawn
                        )
                except OverlayError as error:  # the video as a whole
                    raise OutputWriteError(
                        self.target.path or output, OSError(str(error))
                    ) from error
            put_in_place(journal, merged, output, failures, digest)
        return failures

    def _work(self, journal: Journal, progress: ProgressLine) -> list[Failure]:
        for file in self.files:
            if journal.changed(file):
                progress.tell(f"{file}: has changed since the last run and is done again")
        todo = left_to_do(self.files, journal, whole=self._whole)
        waiting = {file for file, _ in todo}
        for file in self.files:
            if file not in waiting:
                progress.skip(file)
        if not journal.empty:
            progress.tell(_going_on(len(self.files), todo, journal))
        if not todo:
            return []
        if self.cluster is None:
            with self._finder() as finder:
                return work_here(todo, finder, journal, progress)
        work = OpenPoseWork(self.options, self._models, self.tracking)
        return work_on_cluster([file for file, _ in todo], work, self.cluster, journal, progress)

    def _whole(self, file: Path) -> bool:
        """Who is who depends on all frames before."""
        return self.cluster is not None or (self.tracking is not None and is_video(file))

    @property
    def _models(self) -> Path | None:
        return self.repository.absolute() if self.repository is not None else None

    def _finder(self) -> PeopleFinder:
        repository = self._models or default_repository()
        return PeopleFinder(repository, self.options, self.tracking, on_run=self.on_run)

    def _identity(self) -> dict[str, Any]:
        """What the results depend on besides the files."""
        tracking = self.tracking
        return {
            "format": 1,
            **{
                name: value
                for name, value in self.options.model_dump(mode="json").items()
                if value is not None
            },
            "track": tracking is not None,
            "detect_every": tracking.detect_every if tracking else 1,
            "smoothing": tracking.smoothing if tracking else False,
            "models": _digest(self._models or default_repository()),
        }


def _going_on(files: int, todo: Sequence[tuple[Path, int]], journal: Journal) -> str:
    frames = sum(first for _, first in todo)
    text = f"going on with what an earlier run left: {files - len(todo)} of {files} files are done"
    return text + (f", and {frames} frames of the next" if frames else "")


def _digest(repository: Path) -> str:
    """Changes with the models."""
    digest = hashlib.sha256()
    for path in sorted(repository.glob("*/*/model.onnx")):
        digest.update(str(path.relative_to(repository)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _written(output: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputWriteError(output, error) from error
