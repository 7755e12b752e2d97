from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from farpose.cli import main
from farpose.evaluation.dataset import DatasetError, Picture
from farpose.keypoints import COCO17, MPII16
from farpose_training.config import SourceConfig, parse_train_config
from farpose_training.data.loader import build_loader
from farpose_training.data.people import load_people
from farpose_training.data.pictures import DecodedPictures

PICTURE_GB = 120 * 120 * 3 / 1e9


@pytest.fixture
def folder(stick_people: Path, tmp_path: Path) -> Path:
    """A copy of the 24 pictures, to break."""
    return Path(shutil.copytree(stick_people, tmp_path / "copy"))


def source(folder: Path, **fields: object) -> SourceConfig:
    content = {"annotations": folder / "people.json", "images": folder}
    return SourceConfig.model_validate(content | fields)


@pytest.mark.parametrize(("pictures", "kept"), [(0, 0), (10.5, 10), (24, 24), (100, 24)])
def test_pictures_are_kept_as_far_as_memory_goes(stick_people: Path, pictures: float, kept: int):
    people = load_people([source(stick_people)], COCO17, memory_gb=pictures * PICTURE_GB)
    assert people.pictures.kept == kept
    assert len(people.pictures) == 24


def test_pictures_have_the_same_pixels_kept_or_not(stick_people: Path):
    some = load_people([source(stick_people)], COCO17, memory_gb=12 * PICTURE_GB).pictures
    every = load_people([source(stick_people)], COCO17).pictures
    for i in range(24):
        image = cv2.imread(str(stick_people / f"{i}.png"))[..., ::-1]
        np.testing.assert_array_equal(some[i], image)
        np.testing.assert_array_equal(every[i], image)
    np.testing.assert_array_equal(some[-1], some[23])
    assert len(some[10:14]) == 4
    with pytest.raises(IndexError):
        some[24]


def test_training_sees_the_same_crops_kept_or_not(settings: dict):
    batches = []
    for memory in (0, 1):
        config = parse_train_config(settings | {"runtime": {"picture_memory_gb": memory}})
        people = load_people(config.train, COCO17, config.runtime.picture_memory_gb)
        loader = build_loader(config, lambda: people, COCO17, None)  # noqa: B023
        batches.append(next(iter(loader.epoch(0))))
    np.testing.assert_array_equal(batches[0].crops, batches[1].crops)


def test_pictures_that_nobody_is_in_are_not_kept(stick_people: Path):
    pictures = [Picture(i, stick_people / f"{i}.png", 120, 120) for i in range(5)]
    decoded = DecodedPictures(pictures, [1, 3], memory=1e9)
    assert decoded.kept == 2
    assert decoded[0].shape == (120, 120, 3)


def test_an_unreadable_picture_is_named_kept_or_not(folder: Path):
    (folder / "7.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"7\.png: not a readable picture"):
        load_people([source(folder)], COCO17)
    people = load_people([source(folder)], COCO17, memory_gb=0)
    assert people.pictures[6].shape == (120, 120, 3)
    with pytest.raises(DatasetError, match=r"7\.png: not a readable picture"):
        people.pictures[7]


def test_repeated_people_share_their_pictures(stick_people: Path):
    people = load_people([source(stick_people, repeat=3)], COCO17, memory_gb=24 * PICTURE_GB)
    assert (len(people), people.pictures.kept, people.counts) == (72, 24, (24,))


def write_mpii(folder: Path) -> Path:
    entry = {"center": [60, 60], "scale": 0.5, "joints_vis": [1] * 16}
    joints = [[10 + 6 * j, 20 + 5 * j] for j in range(16)]
    path = folder / "train.json"
    path.write_text(
        json.dumps([entry | {"image": f"{i}.png", "joints": joints} for i in range(24)])
    )
    return path


@pytest.mark.parametrize("layout", ["auto", "mpii"])
def test_mpii_and_coco_people_are_mixed(folder: Path, layout: str):
    mpii = source(folder, annotations=write_mpii(folder), format=layout)
    people = load_people([source(folder), mpii], MPII16)
    assert len(people) == 48
    nose, wrist = MPII16.index("head_top"), MPII16.index("left_wrist")
    assert (people.keypoints[:24, nose, 2] == 0).all()  # COCO labels no head top
    assert (people.keypoints[24:, :, 2] == 2).all()
    assert people.keypoints[24, wrist].tolist() == [10 + 6 * wrist - 1, 20 + 5 * wrist - 1, 2]


def train(settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    monkeypatch.setattr("sys.argv", ["farpose", "train", str(path)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def error_line(capfd: pytest.CaptureFixture[str]) -> str:
    """The only line of stderr that is not a progress bar."""
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()
    (line,) = (line for line in lines if line and "it/s" not in line and "?it" not in line)
    return line


def test_a_network_trains_on_mpii(folder: Path, settings: dict, tmp_path: Path, monkeypatch):
    write_mpii(folder)
    mpii = {"annotations": str(folder / "train.json"), "images": str(folder), "format": "mpii"}
    settings |= {"train": [mpii], "val": mpii, "keypoint_set": "mpii16"}
    assert train(settings, tmp_path, monkeypatch) == 0
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def broken(folder: Path, what: str) -> None:
    """Break one thing of a folder of people."""
    path = folder / "people.json"
    content = json.loads(path.read_text())
    first, joints = content["annotations"][0], content["categories"][0]["keypoints"]
    match what:
        case "count":
            first["keypoints"].pop()
        case "order":
            joints.sort()
        case "labels":
            for annotation in content["annotations"]:
                annotation["keypoints"][2::3] = [0] * 17
        case "picture":
            (folder / "3.png").write_bytes(b"no picture")
        case "missing":
            (folder / "3.png").unlink()
    path.write_text(json.dumps(content))
    if what == "file":
        path.unlink()


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("count", "annotation 0 has 50 numbers in `keypoints`; the 17 joints"),
        ("order", "has the joints of coco17 in another order; reorder them"),
        ("labels", "no person has a labelled joint"),
        ("picture", "3.png: not a readable picture"),
        ("missing", "3.png for one: is the picture folder right?"),
        ("file", "people.json: no such annotation file"),
    ],
)
def test_train_names_what_is_wrong_with_the_data_in_one_line(
    folder: Path,
    settings: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    what: str,
    message: str,
    memory: int,
):
    broken(folder, what)
    wrong = {"annotations": str(folder / "people.json"), "images": str(folder)}
    settings |= {"train": [wrong], "runtime": {"picture_memory_gb": memory}}
    assert train(settings, tmp_path, monkeypatch) == 1
    line = error_line(capfd)
    assert line.startswith("error: ")
    assert str(folder) in line
    assert message in line
