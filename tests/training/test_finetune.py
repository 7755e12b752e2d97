"""The commands of docs/finetune.md, as the page has them, on a small made-up camera."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.cli import main
from farpose.evaluation.dataset import load_dataset
from farpose.keypoints import COCO17
from farpose_training import module_command
from farpose_training.config import ConfigError, parse_train_config
from farpose_training.trainer import Trainer
from tests.conftest import ROOT
from tests.service import Service

PAGE = ROOT / "docs" / "finetune.md"
FARPOSE = Path(sys.executable).with_name("farpose")
LABELS = [joint.replace("_", " ").title() for joint in reversed(COCO17.joints)]
"""As an annotator may have named and ordered the points."""


def commands(section: str) -> list[str]:
    """The commands of a section's `sh` blocks, one a line."""
    body = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", body, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


class Shell:
    """Runs the page's lines in the camera's folder.

    Farpose's own commands run in this process, for importing torch anew takes seconds each time;
    a service that a line starts goes on until `close`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
        self._monkeypatch = monkeypatch
        self._variables = variables
        self.service: Service | None = None
        self.exit_codes: dict[str, int] = {}

    def run(self, line: str) -> str:
        """Run one line; what another program than Farpose prints."""
        words = shlex.split(os.path.expandvars(line))
        match words:
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                self._monkeypatch.setenv(name, self._variables.get(name, value))
            case [".venv/bin/farpose", "serve", *options]:
                self.service = Service(FARPOSE, Path.cwd(), tuple(options))
                self.service.__enter__()
            case [".venv/bin/farpose", *options]:
                self._call(main, "farpose", options)
            case [".venv/bin/python", "-m", module, *options]:
                app = importlib.import_module(f"{module}.__main__").app
                self._call(lambda: module_command.run(app, module), options[0], options)
            case _:
                if self.service is not None:
                    words = [w.replace("localhost:8080", self.service.url) for w in words]
                done = subprocess.run(
                    words, capture_output=True, text=True, check=False, timeout=60
                )
                assert done.returncode == 0, done.stderr
                return done.stdout
        return ""

    def close(self) -> None:
        """Stop the service, if there is one."""
        if self.service is not None:
            self.service.__exit__()

    def _call(self, command: Callable[[], None], name: str, options: list[str]) -> None:
        self._monkeypatch.setattr("sys.argv", [name, *options])
        with pytest.raises(SystemExit) as ended:
            command()
        code = int(ended.value.code or 0)
        self.exit_codes[name] = code
        assert code in ((0, 1) if name == "keep" else (0,)), f"{name} {options}: {code}"


def people(count: int) -> tuple[list[dict], list[dict], list[np.ndarray]]:
    """Pictures of stick figures, and their joints in the order of `LABELS`."""
    rng = np.random.default_rng(0)
    upright = np.array(
        [[0, 0], [1, -1], [-1, -1], [2, 0], [-2, 0], [5, 8], [-5, 8], [7, 17], [-7, 17], [7, 25],
         [-7, 25], [3, 26], [-3, 26], [4, 38], [-4, 38], [4, 50], [-4, 50]], float
    )  # fmt: skip
    images, annotations, pictures = [], [], []
    for i in range(count):
        joints = upright + rng.normal(0, 1, (17, 2)) + rng.uniform((20, 10), (70, 30))
        picture = np.full((100, 96, 3), 90, np.uint8)
        for a, b in COCO17.edge_indices:
            ends = [tuple(np.rint(joints[j]).astype(int).tolist()) for j in (a, b)]
            cv2.line(picture, *ends, (210, 200, 190), 3)
        pictures.append(picture)
        images.append({"id": i, "file_name": f"frame_{i}.png", "width": 96, "height": 100})
        box = [*joints.min(axis=0).tolist(), *np.ptp(joints, axis=0).tolist()]
        keypoints = np.column_stack([joints, np.full(17, 2)])[::-1].ravel().tolist()
        ids = {"id": i + 1, "image_id": i, "category_id": 1, "iscrowd": 0}
        annotations.append(ids | {"bbox": box, "keypoints": keypoints})
    return images, annotations, pictures


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path):
    """A shell in a folder like the repository's, with an export in `my_camera`."""
    images, annotations, pictures = people(60)
    category = {"id": 1, "name": "person", "keypoints": LABELS}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "my_camera").mkdir()
    with zipfile.ZipFile(tmp_path / "my_camera/export.zip", "w") as archive:
        archive.writestr("annotations/person_keypoints_default.json", json.dumps(content))
        for image, picture in zip(images, pictures, strict=True):
            encoded = cv2.imencode(".png", picture)[1].tobytes()
            archive.writestr(f"images/default/{image['file_name']}", encoded)
    cv2.imwrite(str(tmp_path / "my_camera/street.jpg"), pictures[0])
    shutil.copytree(repository, tmp_path / "model_repository")
    (tmp_path / "training").symlink_to(ROOT / "training")
    monkeypatch.chdir(tmp_path)
    teacher = str(repository / "lowres_pose" / "checkpoint.safetensors")
    shell = Shell(monkeypatch, {"TEACHER": teacher})
    yield shell
    shell.close()


def test_the_page_leads_from_labels_to_a_service(shell: Shell, capsys: pytest.CaptureFixture[str]):
    camera = Path("my_camera")
    for line in [*commands("Convert"), *commands("Train"), *commands("Compare")]:
        shell.run(line)
    train, val = (
        load_dataset(camera / f"labels_{part}.json", camera / "images") for part in ("train", "val")
    )
    assert (len(train), len(val)) == (48, 12)
    nose, hip = COCO17.index("nose"), COCO17.index("left_hip")
    assert (train.keypoints[:, hip, 1] > train.keypoints[:, nose, 1]).all()
    printed = capsys.readouterr().out
    assert printed.count("PCK@0.2") == 3  # before, after, compared
    assert printed.splitlines()[-1].startswith("keep ")
    log = (camera / "run/log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["loss"] < json.loads(log[0])["loss"]

    serving = commands("Export and serve")
    for line in serving[:-1]:
        shell.run(line)
    answer = json.loads(shell.run(serving[-1]))
    assert answer["models"]["lowres_pose"] == "3"  # the bundled one is 2
    assert answer["image"] == {"width": 96, "height": 100}


def test_the_page_leads_from_footage_to_a_decision(shell: Shell, data: Path):
    camera = Path("my_camera")
    shell.run(commands("Convert")[0])
    shell.run(commands("Convert")[1])
    dataset = load_dataset(data / "coco_mini/val.json", data / "coco_mini/val")
    tall = np.bincount(dataset.picture_index[dataset.heights > 150])
    (camera / "footage").mkdir()
    for index in np.argsort(-tall)[:6]:
        shutil.copy(dataset.pictures[index].path, camera / "footage")
    for line in commands("Unlabelled footage"):
        shell.run(line)
    pseudo = load_dataset(camera / "pseudo/labels.json", camera / "pseudo/images")
    assert pseudo.heights.min() >= 128
    assert (camera / "run_unlabelled/checkpoint.safetensors").is_file()
    assert shell.exit_codes["keep"] in (0, 1)


def test_every_command_of_the_page_is_run():
    tested = ["Convert", "Train", "Compare", "Export and serve", "Unlabelled footage"]
    blocks = PAGE.read_text().count("```sh\n")
    assert blocks == sum(
        PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0].count("```sh\n")
        for name in tested
    )


def test_too_few_people_for_a_batch_name_the_setting(settings: dict):
    config = parse_train_config(settings | {"optimizer": {"batch_size": 25}})
    with pytest.raises(ConfigError, match=r"^optimizer\.batch_size: 24 people"):
        Trainer(config)
