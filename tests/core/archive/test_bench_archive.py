"""`farpose bench archive`: what it counts, and what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from farpose.benchmarks.archive import (
    ArchiveRun,
    BenchmarkError,
    OtherRun,
    loop,
    measure,
    measure_ultralytics,
)
from farpose.benchmarks.archive_command import _memory, _speed
from farpose.options import PoseOptions
from farpose.sources import read_frames


def test_a_run_is_timed_from_its_file_to_the_table(archive: Path):
    run = measure(archive / "first.mp4", PoseOptions(detector_size=320))
    assert run.frames == 30
    assert 0 < run.work_seconds < run.seconds
    assert 0.3 < run.model_share < 1 and 0 < run.busy <= 1
    assert run.rate == pytest.approx(30 / run.seconds)


def test_a_clip_is_repeated_with_times_that_go_on(archive: Path, tmp_path: Path):
    minutes = loop(archive / "first.mp4", tmp_path / "long.mp4", 0.1)
    frames = list(read_frames(tmp_path / "long.mp4"))
    assert (minutes, len(frames)) == (pytest.approx(0.1), 60)
    assert [f.time for f in frames] == pytest.approx([i / 10 for i in range(60)], abs=1e-3)
    assert (frames[0].image == frames[30].image).all()


def test_growth_is_a_slope_without_the_beginning():
    samples = [(i, 100.0 + (50 if i < 100 else 0) + 0.01 * i) for i in range(0, 1000, 50)]
    run = ArchiveRun(1000, 20.0, 19.0, 30.0, 27.0, 0.9, samples)
    assert run.growth(500) == pytest.approx(5.0)
    assert run.model_share == pytest.approx(0.9)
    text = _memory(run, 60)
    assert "| 150 MiB | 106 MiB | 150 MiB | 110 MiB | +10.0 MiB |" in text
    with pytest.raises(BenchmarkError, match="too few"):
        ArchiveRun(10, 1.0, 1.0, 1.0, 1.0, 1.0, samples[:1]).growth(1)


def test_the_report_has_both_rates():
    run = ArchiveRun(1000, 20.0, 19.0, 30.0, 27.0, 0.95, [])
    alone = _speed(Path("clip.mp4"), run, None, 640)
    assert "| 1000 | 20.0 | 50.0 |" in alone and "| 1000 | 19.0 | 52.6 |" in alone
    assert "Models took 90% of the processor time" in alone
    assert "was not run beside" in alone
    beside = _speed(Path("clip.mp4"), run, OtherRun(1000, 3, 40.0, "8.4"), 640)
    assert "| 1000 | 40.0 | 25.0 |" in beside and "it found 3 people" in beside


def test_a_python_without_ultralytics_is_told(archive: Path):
    with pytest.raises(BenchmarkError, match=r"did not run: .*ultralytics"):
        measure_ultralytics(Path(sys.executable), archive / "first.mp4", 320)


def test_a_clip_that_cannot_be_read_is_not_timed(archive: Path):
    with pytest.raises(BenchmarkError, match="not a picture of a known format"):
        measure(archive / "broken.jpg", PoseOptions(detector_size=320))
