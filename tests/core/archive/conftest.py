"""A small archive with everything in it, and ways to run `farpose predict`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

KILLED = Path(__file__).parent / "killed.py"


def write_clip(source: Path, target: Path, frames: int, first: int = 0) -> None:
    """Some frames of a real clip, 240x134, 10 a second."""
    video = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 10, (240, 134))
    for _ in range(first):
        assert video.grab()
    for _ in range(frames):
        writer.write(cv2.resize(video.read()[1], (240, 134)))
    writer.release()
    video.release()


@pytest.fixture(scope="module")
def archive(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, two clips of 30 frames, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("000000000785.jpg", "000000001000.jpg"):
        shutil.copy(data / "coco_mini/val" / name, folder)
    clip = data / "video/worker-zone-detection.gif"
    write_clip(clip, folder / "first.mp4", 30, 20)
    write_clip(clip, folder / "second.mp4", 30, 40)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


Kill = Callable[..., str]


@pytest.fixture(scope="session")
def kill() -> Kill:
    """Runs it in a process that kills itself with SIGKILL at a moment; returns its stderr."""

    def run(moment: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, KILLED, moment, *map(str, arguments), "--detector-size", "320"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr)
        return done.stderr

    return run
