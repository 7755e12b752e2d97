"""`farpose predict --ray` with the bundled models and real pictures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import pytest

from farpose.archive.on_cluster import OpenPoseWork
from farpose.archive.records import records
from farpose.cluster.connection import ClusterError, ClusterSettings
from farpose.options import PoseOptions
from farpose.sources import SourceError
from tests.core.archive.conftest import KILLED
from tests.core.conftest import Predict

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    """Two pictures, two clips of 20 frames, and a file that is no picture."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in ("000000000785.jpg", "000000001000.jpg"):
        shutil.copy(data / "coco_mini/val" / name, folder)
    source = cv2.VideoCapture(str(data / "video/worker-zone-detection.gif"), cv2.CAP_FFMPEG)
    for name in ("first.mp4", "second.mp4"):
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter.fourcc(*"mp4v"), 10, (240, 134)
        )
        for _ in range(20):
            writer.write(cv2.resize(source.read()[1], (240, 134)))
        writer.release()
    source.release()
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def workers() -> dict[int, str]:
    """Processes that descend from this one, are workers of Ray and have a file now."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                names[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:  # it ended meanwhile
                continue
            parents[int(folder.name)] = int(fields[1])

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return {
        pid: name
        for pid, name in names.items()
        if name.startswith("ray::FileWorker.process") and is_ours(pid)
    }


class KillOne(threading.Thread):
    """Kills the first worker that has a file."""

    def __init__(self) -> None:
        super().__init__()
        self.killed: int | None = None

    def run(self) -> None:
        end = time.monotonic() + 60
        while self.killed is None and time.monotonic() < end:
            for pid in list(workers())[:1]:
                os.kill(pid, signal.SIGKILL)
                self.killed = pid
            time.sleep(0.02)


def test_the_records_are_the_same_although_a_worker_is_killed(
    predict: Predict, archive: Path, capsys: Capture
):
    assert predict(archive, "--output", "-") == 1
    alone = capsys.readouterr()

    killer = KillOne()
    killer.start()
    assert predict(archive, "--output", "-", "--ray", "local", "--workers", 2) == 1
    killer.join()
    spread = capsys.readouterr()

    assert killer.killed is not None
    assert spread.out == alone.out
    documents = [json.loads(line) for line in spread.out.splitlines()]
    assert [(Path(d["source"]).stem, d.get("frame")) for d in documents] == [
        ("000000000785", None),
        ("000000001000", None),
        *(("first", i) for i in range(20)),
        *(("second", i) for i in range(20)),
    ]
    errors = [line for line in spread.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {archive / 'broken.jpg'}: ")
    assert errors[0].endswith("(tried 3 times)")
    assert workers() == {}


def test_a_job_on_ray_that_is_killed_goes_on(
    predict: Predict, archive: Path, tmp_path: Path, capsys: Capture
):
    """The command itself is killed when it has the results of the first file."""
    alone, spread = tmp_path / "alone.jsonl", tmp_path / "spread.jsonl"
    assert predict(archive, "--output", alone) == 1
    asked = [str(archive), "--output", str(spread), "--ray", "local", "--workers", "2"]
    killed = subprocess.run(
        [sys.executable, KILLED, "kept", *asked, "--detector-size", "320"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [p.name for p in (tmp_path / "spread.jsonl.parts").glob("part-*")] == ["part-00000000"]

    capsys.readouterr()
    assert predict(*asked) == 1
    told = capsys.readouterr().err
    assert told.startswith("going on with what an earlier run left: 1 of 5 files are done\n")
    assert spread.read_bytes() == alone.read_bytes()


def test_a_worker_says_what_a_file_that_is_cut_off_still_gave(data: Path, tmp_path: Path):
    clip, partial = tmp_path / "cut.mp4", tmp_path / "partial"
    content = (data / "video/one-by-one-person-detection.mp4").read_bytes()
    clip.write_bytes(content[: len(content) // 40])
    with contextlib.closing(OpenPoseWork(PoseOptions(detector_size=128))(1)) as work:
        report = work(clip, partial)
        with pytest.raises(SourceError, match="not a picture"):
            work(archive_file(tmp_path), tmp_path / "other")
    assert report.frames > 2 and "it is cut off or damaged there" in (report.failure or "")
    with partial.open("rb") as stream:
        assert [record.kind for record in records(stream)] == [b"F"] * report.frames + [b"E"]


def archive_file(folder: Path) -> Path:
    """A file that is no picture."""
    path = folder / "broken.jpg"
    path.write_bytes(b"no picture")
    return path


@pytest.mark.parametrize("option", [("--workers", 2), ("--worker-threads", 2)])
def test_options_of_a_cluster_need_one(
    predict: Predict, archive: Path, capsys: Capture, option: tuple[str, int]
):
    assert predict(archive, *option) == 1
    assert "go with --ray" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["workers", "threads", "attempts"])
def test_numbers_are_at_least_one(name: str):
    with pytest.raises(ClusterError, match=f"{name} is 0"):
        ClusterSettings("local", **{name: 0})
