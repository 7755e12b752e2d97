"""A worker's process: started, watched, stopped, timed."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

from farpose_training.study.grid import Run
from farpose_training.study.results import StudyError
from farpose_training.study.worker import JOB, LOG, Job, main
from farpose_training.whole_file import write_whole

PATIENCE_SECONDS = 30.0
"""What a worker is given to stop in."""

SECONDS = "seconds"
"""The file that adds up how long a run was worked on."""


class WorkerProcess:
    """One run in progress; whatever stops it, it goes on from there when it is started again.

    Args:
        run: which one.
        job: what the worker is asked to do.

    Raises:
        StudyError: the run's folder holds a run with other settings.
    """

    def __init__(self, run: Run, job: Job) -> None:
        self.run = run
        self.folder = run.config.output
        _refuse_other_job(self.folder, job)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / JOB, job.model_dump_json(indent=1))
        self._started = time.monotonic()
        self._timed = False
        self._process = _server().Process(target=main, args=(self.folder,), name=run.name)
        self._process.start()

    def ended(self) -> bool:
        """Whether it is done or has failed."""
        if self._process.is_alive():
            return False
        self._add_seconds()
        return True

    @property
    def failure(self) -> str | None:
        """What went wrong, of one that has ended."""
        if self._process.exitcode == 0:
            return None
        log = self.folder / LOG
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        last = next((line for line in reversed(lines) if line.strip()), "no message")
        return f"{self.run.name}: {last.strip()} (see {log})"

    def stop(self) -> None:
        """End it and wait for that."""
        self._process.terminate()
        self._process.join(PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._add_seconds()

    def _add_seconds(self) -> None:
        if not self._timed:
            self._timed = True
            add_seconds(self.folder, time.monotonic() - self._started)


def seconds_spent(folder: Path) -> float:
    """How long a run was worked on, over all its workers that were not killed."""
    path = folder / SECONDS
    return float(path.read_text()) if path.is_file() else 0.0


def add_seconds(folder: Path, seconds: float) -> None:
    """Add to the time that a run was worked on."""
    write_whole(folder / SECONDS, f"{seconds_spent(folder) + seconds:.1f}")


def _refuse_other_job(folder: Path, job: Job) -> None:
    """A folder's half-made run can only go on with its own settings and teacher."""
    path = folder / JOB
    if not path.is_file():
        return
    before = Job.model_validate_json(path.read_text())
    for what, old, new in (
        ("other settings", before.settings, job.settings),
        ("a teacher with other weights", before.teacher, job.teacher),
    ):
        if old != new:
            raise StudyError(f"{folder} holds a run with {what}: remove it to make it anew")


def _server() -> ForkServerContext:
    """Workers are forked from a process that has imported PyTorch, which takes seconds, once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([main.__module__])
    return context
