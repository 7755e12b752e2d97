"""Jobs on a real Ray cluster of two workers on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farpose.archive.on_cluster import OpenPoseWork
from farpose.benchmarks.ray_scaling import ScalingError, measure, measure_alone
from farpose.cluster.connection import Cluster, ClusterError, ClusterSettings, connected
from farpose.cluster.driver import Job
from farpose.cluster.progress import ClusterProgress
from farpose.cluster.worker import OpenWork
from farpose.options import PoseOptions


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with connected(ClusterSettings("local", workers=2)) as here:
        yield here


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Six small files; their results are their text in capitals."""
    paths = [tmp_path / f"{name}.txt" for name in "abcdef"]
    for path in paths:
        path.write_text(f"text of {path.stem}")
    return paths


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where workers write what they do, a line each: `load PID`, `begin NAME PID`."""
    path = tmp_path / "log"
    path.touch()
    return path


def work_with(log: Path, act: Callable[[Path], None] = lambda _: None) -> OpenWork[int]:
    """Work that logs, then does `act` with the file; its report is the worker's process."""

    # A function in a function: Ray sends it whole, as workers cannot import a test.
    def open_work(threads: int) -> Any:
        def note(*words: object) -> None:
            with log.open("a") as stream:
                print(*words, os.getpid(), file=stream)

        def work(path: Path, partial: Path) -> int:
            note("begin", path.stem)
            act(path)
            partial.write_text(path.read_text().upper())
            return os.getpid()

        note("load")
        return work

    return open_work


class Results:
    """What a job gave."""

    def __init__(self, cluster: Cluster, work: OpenWork[int], files: list[Path]) -> None:
        self.numbers: list[int] = []
        self.contents: dict[int, str] = {}
        self.processes: dict[int, int] = {}
        self.progress: list[ClusterProgress] = []
        self.failures = Job(cluster, work, self.take, self.progress.append).run(files)

    def take(self, number: int, content: bytes, process: int) -> None:
        self.numbers.append(number)
        self.contents[number] = content.decode()
        self.processes[number] = process


def begun(log: Path, name: str) -> list[str]:
    """The processes that began the file, in order."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return [words[2] for words in lines if words[:2] == ["begin", name]]


def loaded(log: Path) -> list[str]:
    """The processes that loaded models."""
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("load")]


def test_two_workers_share_the_files_and_load_once_each(
    cluster: Cluster, files: list[Path], log: Path, tmp_path: Path
):
    def wait_for_the_other(path: Path) -> None:
        import time

        # Nobody goes on before both have begun a file.
        while len({w for w in log.read_text().split() if w.isdecimal()}) < 2:
            time.sleep(0.01)

    results = Results(cluster, work_with(log, wait_for_the_other), files)
    assert results.failures == []
    assert sorted(results.numbers) == [0, 1, 2, 3, 4, 5]
    assert results.contents == {i: f"TEXT OF {name}" for i, name in enumerate("ABCDEF")}
    assert len(set(results.processes.values())) == 2
    assert len(loaded(log)) == 2
    assert str(results.progress[-1]) == "6 of 6 files done, 0 failed, 2 workers"
    assert cluster.scratch is not None
    assert list(cluster.scratch.glob("farpose-job-*")) == []


def test_a_killed_worker_is_replaced_and_its_file_done_once(
    cluster: Cluster, files: list[Path], log: Path
):
    def die_the_first_time(path: Path) -> None:
        import time

        if path.stem == "c" and log.read_text().count("begin c") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        # The last file waits for the worker that takes the dead one's place.
        while path.stem == "f" and log.read_text().count("load") < 3:
            time.sleep(0.01)

    results = Results(cluster, work_with(log, die_the_first_time), files)
    assert results.failures == []
    assert sorted(results.numbers) == [0, 1, 2, 3, 4, 5]
    first, second = begun(log, "c")
    assert first != second and results.processes[2] == int(second)
    assert len(loaded(log)) == len(set(loaded(log))) == 3
    assert cluster.scratch is not None
    assert list(cluster.scratch.glob("farpose-job-*")) == []


def test_a_file_that_always_fails_is_tried_on_both_workers_and_given_up(
    cluster: Cluster, files: list[Path], log: Path
):
    def refuse(path: Path) -> None:
        import time

        time.sleep(0.1)  # both workers are there by then
        if path.stem == "e":
            raise ValueError("no such codec")

    results = Results(cluster, work_with(log, refuse), files)
    (failure,) = results.failures
    assert (failure.path, failure.attempts) == (files[4], 3)
    assert str(failure) == f"{files[4]}: ValueError: no such codec (tried 3 times)"
    assert len(begun(log, "e")) == 3 and len(set(begun(log, "e"))) == 2
    assert sorted(results.numbers) == [0, 1, 2, 3, 5]
    assert results.progress[-1].failed == 1


def test_a_file_that_kills_every_worker_is_given_up_and_the_others_are_done(
    cluster: Cluster, files: list[Path], log: Path
):
    def die(path: Path) -> None:
        if path.stem == "a":
            os.kill(os.getpid(), signal.SIGKILL)

    results = Results(cluster, work_with(log, die), files)
    (failure,) = results.failures
    assert str(failure) == f"{files[0]}: the worker died on it (tried 3 times)"
    assert len(set(begun(log, "a"))) == 3
    assert sorted(results.numbers) == [1, 2, 3, 4, 5]


def test_an_answer_that_cannot_be_sent_is_a_failure_of_its_file(
    cluster: Cluster, files: list[Path], log: Path
):
    def open_work(threads: int) -> Any:
        def work(path: Path, partial: Path) -> Any:
            partial.write_text(path.read_text())
            return os.getpid() if path.stem != "b" else (part for part in "unsendable")

        return work

    results = Results(cluster, open_work, files)
    (failure,) = results.failures
    assert failure.path == files[1] and "TypeError: cannot pickle 'generator'" in failure.reason
    assert sorted(results.numbers) == [0, 2, 3, 4, 5]


def test_a_file_that_workers_cannot_reach_says_where_files_must_lie(
    cluster: Cluster, files: list[Path], log: Path
):
    files[3].unlink()
    results = Results(cluster, work_with(log), files)
    (failure,) = results.failures
    assert failure.path == files[3]
    assert f"{files[3]}: not found on the worker's machine" in failure.reason
    assert "same path on every machine" in failure.reason
    assert sorted(results.numbers) == [0, 1, 2, 4, 5]


def test_workers_that_cannot_load_their_models_end_the_job(cluster: Cluster, files: list[Path]):
    def broken(threads: int) -> Any:
        raise ValueError("no such model")

    with pytest.raises(ClusterError, match="no worker can start: ValueError: no such model"):
        Results(cluster, broken, files)


def test_an_error_where_results_are_kept_ends_the_job(
    cluster: Cluster, files: list[Path], log: Path
):
    def full(number: int, content: bytes, process: int) -> None:
        raise OSError(28, "No space left on device", "partial")

    with pytest.raises(OSError, match="No space left"):
        Job(cluster, work_with(log), full).run(files)


def test_no_file_is_no_work(cluster: Cluster, log: Path):
    assert Results(cluster, work_with(log), []).failures == []
    assert loaded(log) == []


def test_workers_of_another_version_are_refused(
    cluster: Cluster, files: list[Path], log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("farpose.cluster.driver.farpose_version", lambda: "9.9.9")
    with pytest.raises(ClusterError, match=r"this machine 9\.9\.9: install the same"):
        Results(cluster, work_with(log), files)


def test_the_benchmark_counts_the_frames_of_every_file(cluster: Cluster, data: Path):
    files = [data / "coco_mini/val/000000000785.jpg"] * 3
    work = OpenPoseWork(PoseOptions(detector_size=320))
    spread, alone = measure(cluster, files, work), measure_alone(files, work, threads=1)
    assert (spread.workers, spread.frames) == (2, 3) and (alone.workers, alone.frames) == (0, 3)
    assert spread.result_bytes == alone.result_bytes > 0
    assert spread.load_seconds > 0 and spread.seconds > 0


def test_the_benchmark_times_no_job_that_failed(cluster: Cluster, data: Path):
    work = OpenPoseWork(PoseOptions(detector_size=320))
    with pytest.raises(ScalingError, match="not found"):
        measure(cluster, [data / "nothing.jpg"], work)


def test_a_second_connection_is_refused(cluster: Cluster):
    with pytest.raises(ClusterError, match="connected to a Ray cluster already"):
        connected(ClusterSettings("local")).__enter__()
