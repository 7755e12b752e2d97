"""The driver: starts workers, hands out files, collects results, replaces workers that died."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic

from farpose.cluster.connection import Cluster, ClusterError
from farpose.cluster.progress import ClusterProgress, Failure
from farpose.cluster.schedule import Place, Schedule
from farpose.cluster.worker import (
    Done,
    Failed,
    FileWorker,
    Hello,
    OpenWork,
    Report,
    farpose_version,
)

START_SECONDS: Final = 120.0
"""A cluster where no worker is ready after so long has no room for one."""

_LEAVE_SECONDS: Final = 10.0


@dataclass
class _Worker:
    """An actor, and what it is doing."""

    handle: Any
    number: int
    hello: Hello | None = None
    """None until its models are loaded."""

    file: int | None = None

    @property
    def place(self) -> Place:
        """Where it runs, once it is ready."""
        return Place(self.number, self.hello.node if self.hello else "")

    def release(self) -> tuple[Place, int]:
        """It has no file now: where it was, and the file's number."""
        number, self.file = self.file, None
        if number is None:
            raise RuntimeError(f"worker {self.number} answered without a file")
        return self.place, number


class Job(Generic[Report]):
    """Files that a cluster works on.

    Args:
        cluster: is connected.
        open_work: what is done with a file; called once in every worker.
        on_done: takes the number of a file, its results and its report, once for each file and in
            the order in which they finish.
        on_progress: called when something changed, and about once a second.
    """

    def __init__(
        self,
        cluster: Cluster,
        open_work: OpenWork[Report],
        on_done: Callable[[int, bytes, Report], None],
        on_progress: Callable[[ClusterProgress], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._ray = cluster.ray
        self._open_work = open_work
        self._on_done = on_done
        self._on_progress = on_progress
        self._id = uuid.uuid4().hex
        self._running: dict[Any, _Worker] = {}  # by what Ray will answer
        self._idle: list[_Worker] = []
        self._started = 0
        self._failed_starts = 0

    def run(self, files: Sequence[Path]) -> list[Failure]:
        """Process all files; those that were given up, in their order.

        Raises:
            ClusterError: no worker could be started.
        """
        self._files = files
        self._schedule = Schedule(files, self._cluster.settings.attempts)
        self._attempts = [0] * len(files)
        self._reasons = [""] * len(files)
        self._failures: dict[int, Failure] = {}
        self._done = 0
        try:
            while self._done + len(self._failures) < len(files):
                self._step()
        finally:
            self._end()
        return [self._failures[number] for number in sorted(self._failures)]

    def _step(self) -> None:
        """Wait for one answer, or a second, and give everybody idle something to do."""
        self._start_workers()
        busy = any(worker.file is not None for worker in self._running.values())
        # Where nobody works, what waits is for those who are just starting, or for nobody.
        timeout = 1.0 if busy else START_SECONDS
        answered = []
        if self._running:
            answered, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        for answer in answered:
            self._take(answer, self._running.pop(answer))
        if not busy and not answered:
            if not self._idle:
                raise ClusterError(
                    f"no worker was ready after {START_SECONDS:.0f} s: every machine of the "
                    f"cluster has fewer than {self._cluster.settings.threads} free cores"
                )
            for number in self._schedule.give_up():
                self._failures[number] = self._failure(number)
        self._hand_out()
        self._on_progress(
            ClusterProgress(len(self._files), self._done, len(self._failures), self._ready())
        )

    def _take(self, answer: Any, worker: _Worker) -> None:
        """What a worker answered: it is ready, or has done its file, or is lost."""
        try:
            value = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._lost(worker, error)
            return
        if isinstance(value, Hello):
            if value.version != farpose_version():
                raise ClusterError(
                    f"{value.name} runs Farpose {value.version}, this machine {farpose_version()}: "
                    "install the same version on every machine of the cluster"
                )
            worker.hello, self._failed_starts = value, 0
        else:
            self._finish(worker, value)
        self._idle.append(worker)

    def _finish(self, worker: _Worker, value: Done[Report] | Failed) -> None:
        place, number = worker.release()
        self._attempts[number] += 1
        if isinstance(value, Done):
            self._done += 1
            self._on_done(number, value.partial, value.report)
            return
        self._reasons[number] = value.reason
        if value.unreachable:
            self._schedule.unreachable(number, place)
        else:
            self._failed(number, place)

    def _lost(self, worker: _Worker, error: Exception) -> None:
        """The actor is gone: its file is redone, and another actor will take its place."""
        # One that is only out of reach would go on with a file that is somebody else's now.
        self._ray.kill(worker.handle)
        if worker.file is None:
            self._failed_starts += 1
            if self._failed_starts >= self._cluster.settings.attempts and not self._ready():
                raise ClusterError(f"no worker can start: {_last_line(error)}") from error
            return
        self._failed_starts = 0  # this one had started
        place, number = worker.release()
        self._attempts[number] += 1
        self._reasons[number] = f"{self._files[number]}: {self._why(error)}"
        self._failed(number, place)

    def _why(self, error: Exception) -> str:
        """What became of a worker that gave no answer for its file."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return _last_line(error)
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return "Ray ended the worker, as its machine was out of memory"
        return "the worker died on it"

    def _failed(self, number: int, place: Place) -> None:
        if not self._schedule.failed(number, place):
            self._failures[number] = self._failure(number)

    def _failure(self, number: int) -> Failure:
        return Failure(self._files[number], self._reasons[number], self._attempts[number])

    def _hand_out(self) -> None:
        for worker in list(self._idle):
            others = [other.place for other in self._workers() if other is not worker]
            number = self._schedule.take(worker.place, others)
            if number is not None:
                self._idle.remove(worker)
                worker.file = number
                self._running[worker.handle.process.remote(self._files[number])] = worker

    def _start_workers(self) -> None:
        """Start as many as there is work for, unless starting fails again and again."""
        settings = self._cluster.settings
        open_files = len(self._files) - self._done - len(self._failures)
        actor = self._ray.remote(FileWorker).options(num_cpus=settings.threads, max_restarts=0)
        while (
            len(self._running) + len(self._idle) < min(self._cluster.workers, open_files)
            and self._failed_starts < settings.attempts
        ):
            handle = actor.remote(
                self._open_work, settings.threads, self._id, self._cluster.scratch
            )
            self._running[handle.hello.remote()] = _Worker(handle, self._started)
            self._started += 1

    def _workers(self) -> list[_Worker]:
        """Those that are ready."""
        everybody = [*self._running.values(), *self._idle]
        return [worker for worker in everybody if worker.hello is not None]

    def _ready(self) -> int:
        return len(self._workers())

    def _end(self) -> None:
        leaving = [worker.handle.leave.remote() for worker in self._idle]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS)
        for worker in [*self._running.values(), *self._idle]:
            self._ray.kill(worker.handle)
        self._running.clear()
        self._idle.clear()


def _last_line(error: Exception) -> str:
    """Ray puts a traceback into the text; its last line names what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
