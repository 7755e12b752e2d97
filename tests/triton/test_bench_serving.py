"""`farpose bench serving`, for a moment, with real servers."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from farpose_serving.benchmarks.cameras import AnswerError, over_http, run_cameras
from farpose_serving.triton.environment import TritonEnvironment
from tests.serving.test_command import FARPOSE


def test_each_way_answers_its_cameras(environment: TritonEnvironment, data: Path, tmp_path: Path):
    command = [FARPOSE, "bench", "serving", data / "coco_mini/val", "--output", tmp_path]
    options = ["--cameras", "2", "--seconds", "0.9", "--pictures", "4"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "serving.csv").read_text().splitlines()))
    assert [row["cameras"] for row in rows] == ["2"] * 5
    assert len({row["way"] for row in rows}) == 5
    for row in rows:
        assert int(row["frames"]) > 0
        assert 0 < float(row["p50_ms"]) <= float(row["p99_ms"])
        assert 0 < float(row["cpu_share"]) <= 1.1
        people = float(row["people_per_second"]) / float(row["frames_per_second"])
        assert people >= 1  # each of these pictures has somebody
    text = (tmp_path / "serving.md").read_text()
    assert text in done.stdout
    assert text.count("of direct gRPC's p50") == 3


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_without_pictures_is_refused(what: str, tmp_path: Path):
    folder = tmp_path / "pictures"
    if what == "empty":
        folder.mkdir()
    done = subprocess.run(
        [FARPOSE, "bench", "serving", folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_camera_that_is_refused_ends_the_run():
    with pytest.raises(AnswerError, match="a camera failed"):
        run_cameras(over_http("http://127.0.0.1:9"), [b"x"], 2, 1.0, 0.0)
