from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from farpose.archive.progress import ProgressLine
from farpose.sources import Frame


class Stream(io.StringIO):
    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Of 1,000 and 3,000 bytes."""
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path, size in zip(paths, (1000, 3000), strict=True):
        path.write_bytes(bytes(size))
    return paths


def run(files: list[Path], stream: Stream, skip: bool = False) -> None:
    """Two files of 100 frames, ten a second."""
    now = 0.0
    line = ProgressLine(files, stream, lambda: now)
    image = np.zeros((0, 0, 3), np.uint8)
    for file in files:
        if skip and file == files[0]:
            line.skip(file)
            continue
        for i in range(100):
            now += 0.4
            line.frame(Frame(file, image, i, 10.0, i / 10, 100))
        line.end(file)
    line.clear()


def test_a_terminal_shows_what_is_left(files: list[Path]):
    stream = Stream()
    stream.terminal = True
    run(files, stream)
    lines = stream.getvalue().split("\r\x1b[K")
    # The first file is a quarter of all: 40 s, so 120 s are left.
    assert lines[100] == (
        f" 25%  0 of 2 files, 2.5 frames/s, 2:00 left  {files[0]} frame 100 of 100"
    )
    assert "left" not in lines[2] and lines[-1] == ""


def test_a_log_has_a_line_now_and_then(files: list[Path]):
    stream = Stream()
    run(files, stream)
    first, *_, last = lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert first.startswith(" 19%  0 of 2 files, 2.5 frames/s, 2:10 left")
    assert "1 of 2 files" in last and "\x1b" not in stream.getvalue()


def test_what_an_earlier_run_did_does_not_count_as_speed(files: list[Path]):
    stream = Stream()
    run(files, stream, skip=True)
    (line,) = stream.getvalue().splitlines()
    # 76 of 100 frames of the second file took 30.4 s.
    assert line.startswith(" 82%  1 of 2 files, 2.5 frames/s, 0:10 left")
