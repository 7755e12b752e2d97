"""The commands of the README's training section, on a tiny set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

FARPOSE = Path(sys.executable).with_name("farpose")


def farpose(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(FARPOSE), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_train_evaluate_export(settings: dict, stick_people: Path, tmp_path: Path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    done = farpose("train", "run.yaml", "--set", "optimizer.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checkpoint = Path(done.stdout.split()[-1])
    assert "100%" in done.stderr  # a progress bar

    people = ["--annotations", stick_people / "people.json", "--images", stick_people]
    done = farpose("evaluate", checkpoint, *people, "--boxes", "truth", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= scores["PCK@0.2"] <= 1

    done = farpose("export", checkpoint, "--repository", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "mine/lowres_pose"
    done = farpose("evaluate", exported, *people, "--boxes", "truth", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout.splitlines()[-1])
    assert abs(again["PCK@0.2"] - scores["PCK@0.2"]) < 0.01


def test_mistakes_end_in_one_line(settings: dict, stick_people: Path, tmp_path: Path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings | {"sigma": 3}))
    (tmp_path / "task.yaml").write_text("task: cooking")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    people = ["--annotations", stick_people / "people.json", "--images", stick_people]
    for arguments, message in [
        (["train", "none.yaml"], "none.yaml: cannot be read"),
        (["train", "run.yaml"], "sigma: Extra inputs are not permitted"),
        (["train", "task.yaml"], "use pose or person_detector"),
        (["export", "cut.safetensors", "--repository", "r"], "not a readable safetensors"),
        (["evaluate", "none.onnx", *people], "none.onnx"),
    ]:
        done = farpose(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "r").exists()
