"""Makes the runs of a study, several at once, until all are done or the time is up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from farpose.benchmarks.machine import this_machine
from farpose_training.config import ConfigError
from farpose_training.data.bank_manifest import bank_teacher
from farpose_training.data.drawn.source import materialised
from farpose_training.locks import locked
from farpose_training.loop.processes import accelerator_on, precision_on
from farpose_training.study.config import StudyConfig
from farpose_training.study.grid import Run, digest, expand, scores_of, teacher_config
from farpose_training.study.process import WorkerProcess, seconds_spent
from farpose_training.study.results import Ledger, StudyError
from farpose_training.study.worker import SCORES, Job, trained_epochs

POLL_SECONDS = 0.1


class Runner:
    """Makes the missing runs of a study and records each as soon as it is done.

    Args:
        study: what to run.
        ledger: where results are recorded.
        report: told a line of text when something has happened.

    Raises:
        ConfigError: the settings of a run are wrong.
        StudyError: a file is missing, or a recorded run was made with other settings.
    """

    def __init__(self, study: StudyConfig, ledger: Ledger, report: Callable[[str], None]) -> None:
        self._study = study
        self._ledger = ledger
        self._report = report
        self._machine = this_machine()
        self._threads = max(1, self._machine.cores // study.parallel)
        self.runs = [self._with_threads(run) for run in expand(study)]
        self._teacher = (
            self._with_threads(Run("", "teacher", 0, teacher_config(study)))
            if study.teacher_is_trained
            else None
        )
        _refuse_missing_files(study, self.runs)
        _refuse_other_teachers(self.runs)
        ledger.refuse_changes(self.runs, self._digests)

    @property
    def pending(self) -> list[Run]:
        """Runs that are not recorded yet, in order."""
        done = {result.key for result in self._ledger.results()}
        return [run for run in self.runs if run.key not in done]

    def run(self, seconds: float | None = None) -> bool:
        """Make runs for so long, or until all are done; what is in progress goes on next time.

        Returns:
            Whether all runs are done.

        Raises:
            StudyError: runs failed, the others were made; or another process makes this study.
        """
        end = float("inf") if seconds is None else time.monotonic() + seconds
        if not self.pending:
            return True
        with _alone(self._study.output), _stopped_by_sigterm():
            failed = self._train_teacher(end)
            if self._teacher is None or _is_trained(self._teacher):
                failed = self._make(self.pending, end, self._record)
        if failed:
            raise StudyError(f"{len(failed)} runs failed. {failed[0]}")
        return not self.pending

    def _make(self, runs: Sequence[Run], end: float, finish: Callable[[Run], None]) -> list[str]:
        """Work on runs in their order; returns what went wrong with those that failed."""
        waiting, active, failed = list(runs), list[WorkerProcess](), list[str]()
        try:
            while (waiting or active) and time.monotonic() < end:
                while waiting and len(active) < self._study.parallel:
                    run = waiting.pop(0)
                    active.append(WorkerProcess(run, self._job(run)))
                for worker in [worker for worker in active if worker.ended()]:
                    active.remove(worker)
                    if worker.failure is None:
                        finish(worker.run)
                    else:
                        failed.append(worker.failure)
                        self._report(f"failed: {worker.failure}")
                time.sleep(POLL_SECONDS)
        finally:
            for worker in active:
                worker.stop()
        return failed

    def _job(self, run: Run) -> Job:
        return Job(
            train=run.config,
            score=() if run is self._teacher else scores_of(self._study, run.config),
            settings=run.settings,
            teacher=self._digests(run)["teacher"],
        )

    def _record(self, run: Run) -> None:
        folder = run.config.output
        runtime = run.config.runtime
        scores = json.loads((folder / SCORES).read_text())
        facts = {
            "epochs": run.config.optimizer.epochs,
            **self._digests(run),
            "machine": self._machine.processor,
            "cores": self._machine.cores,
            "threads": run.config.threads,
            "precision": precision_on(accelerator_on(runtime.accelerator), runtime.precision),
            "torch": torch.__version__,
            "seconds": round(seconds_spent(folder), 1),
        }
        self._ledger.add(run, facts, scores)
        first = scores_of(self._study, run.config)[0]
        score = scores.get(f"{first.name}.{first.boxes[0]}.pck_0.2", float("nan"))
        self._report(
            f"[{len(self.runs) - len(self.pending)}/{len(self.runs)}] {run.name}: "
            f"PCK@0.2 {score:.3f} on {first.name}, {facts['seconds']} s"
        )

    def _train_teacher(self, end: float) -> list[str]:
        if self._teacher is None or _is_trained(self._teacher):
            return []
        self._report(f"training the teacher in {self._teacher.config.output}")
        return self._make([self._teacher], end, lambda run: None)

    def _digests(self, run: Run) -> dict[str, str]:
        distillation = run.config.distillation
        return {
            "settings": run.settings,
            "scoring": digest(*scores_of(self._study, run.config)),
            "teacher": file_digest(distillation.teacher) if distillation else "",
        }

    def _with_threads(self, run: Run) -> Run:
        if run.config.threads is not None:
            return run
        return replace(run, config=run.config.model_copy(update={"threads": self._threads}))


def file_digest(path: Path) -> str:
    """Twelve hexadecimal digits of a file's content; none of a file that is not there."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _is_trained(run: Run) -> bool:
    checkpoint = run.config.output / "checkpoint.safetensors"
    return trained_epochs(checkpoint) >= run.config.optimizer.epochs


def _refuse_missing_files(study: StudyConfig, runs: Sequence[Run]) -> None:
    """Find out before the first training, which may take hours."""
    wanted: dict[Path, str] = {}
    if study.teacher is not None and not study.teacher_is_trained:
        wanted[study.teacher] = "teacher"
    for run in runs:
        for source in (*run.config.train, run.config.val):
            wanted[materialised(source).annotations] = "the training's annotations"
        for score in scores_of(study, run.config):
            wanted[materialised(score.source).annotations] = f"score {score.name}: annotations"
            if score.detector is not None and "detected" in score.boxes:
                wanted[score.detector] = f"score {score.name}: detector"
    for path, what in wanted.items():
        if not path.exists():
            raise StudyError(f"{what}: {path} does not exist")


def _refuse_other_teachers(runs: Sequence[Run]) -> None:
    """Find out likewise; of a teacher that is yet to be trained, the run itself finds out."""
    for run in runs:
        named = (run.config.bank, run.config.distillation)
        if all(part is not None and part.teacher and part.teacher.is_file() for part in named):
            try:
                bank_teacher(run.config)
            except ConfigError as error:
                raise ConfigError(f"{run.name}: {error}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to work on the same runs in two processes."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = StudyError(f"{folder}: another farpose study is at work there")
    with locked(folder / "study.lock", busy):
        yield


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, so that workers are stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
