"""`farpose predict` is killed with SIGKILL, and the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.core.archive.conftest import Kill
from tests.core.conftest import Predict

Capture = pytest.CaptureFixture[str]


def places(content: bytes) -> list[tuple[str, int | None]]:
    documents = map(json.loads, content.splitlines())
    return [(Path(d["source"]).stem, d.get("frame")) for d in documents]


EVERYTHING = [
    ("000000000785", None),
    ("000000001000", None),
    *(("first", i) for i in range(30)),
    *(("second", i) for i in range(30)),
]


def test_a_job_that_is_killed_again_and_again_gives_what_it_would_have_given(
    archive: Path, predict: Predict, kill: Kill, tmp_path: Path, capsys: Capture
):
    target, whole = tmp_path / "people.jsonl", tmp_path / "whole.jsonl"
    assert predict(archive, "--output", whole) == 1
    assert places(whole.read_bytes()) == EVERYTHING

    parts = tmp_path / "people.jsonl.parts"
    for moment in ("writing:3", "kept:2", "merging:30", "marked"):
        told = kill(moment, archive, "--output", target)
        assert not target.exists() and (parts / "job.json").is_file(), moment
    assert told.startswith("going on with what an earlier run left: 4 of 5 files are done\n")
    kill("placed", archive, "--output", target)
    assert target.read_bytes() == whole.read_bytes() and parts.is_dir()

    capsys.readouterr()
    assert predict(archive, "--output", target) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{target}: was finished by the run before"
    assert lines[-1] == f"  {archive / 'broken.jpg'}"
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.jsonl", "whole.jsonl"]

    assert predict(archive, "--output", target) == 1
    assert "people.jsonl: exists and would be overwritten" in capsys.readouterr().err
    assert predict(archive / "first.mp4", "--output", target, "--overwrite") == 0
    assert places(target.read_bytes()) == EVERYTHING[2:32]


def test_a_tracked_video_is_done_again_from_its_beginning(
    archive: Path, predict: Predict, kill: Kill, tmp_path: Path, capsys: Capture
):
    tables = []
    for name in ("killed", "whole"):
        target = tmp_path / f"{name}.parquet"
        asked = [archive / "first.mp4", archive / "second.mp4", "--track", "--output", target]
        if name == "killed":
            kill("kept:3", *asked)
        assert predict(*asked) == 0
        tables.append(pq.read_table(target))
    assert "going on" in capsys.readouterr().err
    assert tables[0].equals(tables[1])
    frames = list(zip(tables[0]["source"].to_pylist(), tables[0]["frame"].to_pylist(), strict=True))
    assert [*dict.fromkeys((Path(source).stem, i) for source, i in frames)] == EVERYTHING[2:]
    assert 1 in tables[0]["track_id"].to_pylist()


def test_a_kill_from_outside_loses_nothing(
    data: Path, predict: Predict, tmp_path: Path, capsys: Capture
):
    """With the usual parts, at whatever moment it hits."""
    folder, target = tmp_path / "clips", tmp_path / "people.jsonl"
    folder.mkdir()
    for i in range(4):
        shutil.copy(data / "video/worker-zone-detection.gif", folder / f"{i}.gif")
    command = [sys.executable, "-m", "farpose", "predict", folder, "--detector-size", "320"]
    with subprocess.Popen([*command, "--output", target], stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not list((tmp_path / "people.jsonl.parts").glob("part-*")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert predict(folder, "--output", target) == 0
    assert capsys.readouterr().err.startswith("going on with what an earlier run left")
    content = target.read_bytes()
    assert places(content) == [(str(i), frame) for i in range(4) for frame in range(71)]
    people = [json.loads(line)["people"] for line in content.splitlines()]
    assert all(people[i : i + 71] == people[:71] for i in (71, 142, 213))


def test_what_changed_is_done_again_and_other_options_are_another_job(
    archive: Path, predict: Predict, kill: Kill, tmp_path: Path, capsys: Capture
):
    folder, target = tmp_path / "folder", tmp_path / "people.jsonl"
    shutil.copytree(archive, folder)
    kill("merging", folder, "--output", target)

    assert predict(folder, "--output", target, "--detection-threshold", "0.9") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "with other options (detection_threshold was 0.35, now 0.9)" in line
    assert line.endswith("give the same ones to go on, or --restart to begin anew")
    assert not target.exists()

    shutil.copy(archive / "000000001000.jpg", folder / "000000000785.jpg")
    shutil.copy(archive / "000000001000.jpg", folder / "new.jpg")
    assert predict(folder, "--output", target) == 1
    changed, going_on = capsys.readouterr().err.splitlines()[:2]
    assert changed.endswith("785.jpg: has changed since the last run and is done again")
    assert going_on == "going on with what an earlier run left: 3 of 6 files are done"
    lines = list(map(json.loads, target.read_text().splitlines()))
    assert lines[0]["people"] == lines[1]["people"] == lines[32]["people"]
    assert Path(lines[32]["source"]).name == "new.jpg"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("moment", "more"),
    [("labelling:3", ("--format", "yolo")), ("drawing:2", ())],  # job.json is a text too
)
def test_a_folder_that_is_merged_again_holds_nothing_else(
    moment: str, more: tuple[str, ...], archive: Path, predict: Predict, kill: Kill, tmp_path: Path
):
    pictures = archive / "*.jpg"
    assert predict(pictures, "--output", tmp_path / "whole", *more) == 1  # one is broken
    kill(moment, pictures, "--output", tmp_path / "people", *more)
    (unfinished,) = (tmp_path / "people").rglob(".*")
    assert unfinished.is_file()
    assert predict(pictures, "--output", tmp_path / "people", *more) == 1
    assert contents(tmp_path / "people") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people", "whole"]


def test_another_job_is_not_taken_for_one_that_was_killed_when_it_was_finished(
    archive: Path, predict: Predict, kill: Kill, tmp_path: Path, capsys: Capture
):
    one, other = archive / "000000000785.jpg", archive / "000000001000.jpg"
    target, parts = tmp_path / "people.json", tmp_path / "people.json.parts"
    kill("placed", one, "--output", target)
    shutil.copytree(parts, tmp_path / "left")
    for asked in ([other], [one, "--detection-threshold", "0.9"], [one, "--format", "coco"]):
        assert predict(*asked, "--output", target) == 1
        assert "people.json: exists and would be overwritten" in capsys.readouterr().err
        assert not parts.exists()
        shutil.copytree(tmp_path / "left", parts)
    assert predict(other, "--output", target, "--overwrite") == 0
    assert capsys.readouterr().err == ""
    assert [Path(d["source"]) for d in json.loads(target.read_text())] == [other]
    assert not parts.exists()


def test_a_new_start_forgets_what_was_done(
    archive: Path, predict: Predict, kill: Kill, tmp_path: Path, capsys: Capture
):
    target = tmp_path / "people.jsonl"
    kill("kept", archive / "first.mp4", "--output", target)
    again = ["--output", target, "--restart", "--detection-threshold", "0.9"]
    assert predict(archive / "first.mp4", *again) == 0
    assert capsys.readouterr().err == ""
    assert places(target.read_bytes()) == EVERYTHING[2:32]
