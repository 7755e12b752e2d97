"""What runs on a worker: one process with its models loaded, that takes file after file."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import cv2

Report = TypeVar("Report")
Made = TypeVar("Made", covariant=True)

PREFIX: Final = "farpose-job-"


class FileWork(Protocol[Made]):
    """What is done with one file, with everything loaded that it needs."""

    def __call__(self, path: Path, partial: Path) -> Made:
        """Write the results of the file `path` to `partial` and say how it went."""
        ...


OpenWork = Callable[[int], FileWork[Report]]
"""Loads the models for so many threads. It is sent to the workers: it must pickle."""


@dataclass(frozen=True)
class Hello:
    """What a worker says when it is ready."""

    node: str
    """Ray's id of its machine."""

    name: str
    """Of its machine."""

    pid: int
    version: str
    """Of Farpose there."""


@dataclass(frozen=True)
class Done(Generic[Report]):
    """A file's results."""

    partial: bytes
    """What the work wrote."""

    report: Report


@dataclass(frozen=True)
class Failed:
    """A file that the work could not finish."""

    reason: str
    unreachable: bool = False
    """There is no such file on the worker's machine."""


class FileWorker(Generic[Report]):
    """The body of a Ray actor.

    Args:
        open_work: called once, so the models are loaded once.
        threads: for each model and for OpenCV.
        job: names the folder for unfinished results.
        scratch: where that folder is made; the machine's folder for temporary files if None.

    Raises:
        Exception: what `open_work` raises; the actor does not start then.
    """

    def __init__(
        self, open_work: OpenWork[Report], threads: int, job: str, scratch: Path | None
    ) -> None:
        cv2.setNumThreads(threads)
        self._folder = (scratch or Path(tempfile.gettempdir())) / f"{PREFIX}{job}"
        self._work = open_work(threads)

    def hello(self) -> Hello:
        """Answer when the models are loaded."""
        import ray

        node = str(ray.get_runtime_context().get_node_id())
        return Hello(node, platform.node(), os.getpid(), farpose_version())

    def process(self, path: Path) -> Done[Report] | Failed:
        """Do one file; the results come back as bytes, so machines share no folder for them."""
        try:
            if not path.exists():
                return Failed(
                    f"{path}: not found on the worker's machine {platform.node()}. Sources must "
                    "lie at the same path on every machine of the cluster, for example on shared "
                    "storage",
                    unreachable=True,
                )
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                partial = Path(folder) / "partial"
                report = self._work(path, partial)
                return Done(partial.read_bytes(), report)
        except Exception as error:  # noqa: BLE001 (the driver decides; this worker goes on)
            return Failed(_reason(path, error))

    def leave(self) -> None:
        """Remove what attempts on this machine that were killed left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)


def farpose_version() -> str:
    """The version of Farpose that this process runs."""
    try:
        return version("farpose")
    except PackageNotFoundError:
        return "not installed"


def _reason(path: Path, error: Exception) -> str:
    """One line; Farpose's own errors are written for users, of others the class helps."""
    text = " ".join(str(error).split())
    if not type(error).__module__.startswith("farpose"):
        text = f"{type(error).__name__}: {text}"
    return text if text.startswith(str(path)) else f"{path}: {text}"
