"""Labels from a teacher, and the decision whether a model is better than another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from farpose.evaluation.dataset import Picture, PoseDataset, load_dataset
from farpose.evaluation.ignored import Ignored
from farpose.evaluation.oks import Predictions
from farpose.keypoints import COCO17
from farpose.people import People
from farpose_training.checkpoint import load_model, save_model
from farpose_training.labelling.__main__ import app
from farpose_training.labelling.comparison import (
    Change,
    ap_change,
    is_better,
    pck_change,
    redrawn,
    redrawn_dataset,
)
from farpose_training.labelling.errors import LabellingError
from farpose_training.labelling.pseudo import Rule, annotations_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundled(repository: Path) -> Path:
    return repository / "lowres_pose" / "checkpoint.safetensors"


def people_of(*scores: list[float], heights: list[float]) -> People:
    """People with boxes of these heights, and the scores of the first joints; the others have 0."""
    count = len(heights)
    keypoints = np.zeros((count, 17, 3), np.float32)
    for person, values in enumerate(scores):
        keypoints[person, : len(values)] = [[3 + j, 4, v] for j, v in enumerate(values)]
    return People(
        boxes=np.array([[0, 1, 10, 1 + height] for height in heights], np.float32),
        scores=np.ones(count, np.float32),
        keypoints=keypoints,
        variances=np.zeros((count, 17, 2), np.float32),
        models=("teacher",) * count,
    )


def test_only_large_people_with_enough_sure_joints_are_labelled():
    sure, doubtful = [0.9, 0.8, 0.5], [0.9, 0.49, 0.3]
    people = people_of(sure, doubtful, sure, heights=[100, 100, 99])
    labelled, large = Rule(min_height=100, joint_threshold=0.5, min_joints=3).apply(people)
    assert (len(labelled), len(large)) == (1, 2)
    labelled, _ = Rule(min_height=100, joint_threshold=0.5, min_joints=1).apply(people)
    assert (labelled.keypoints[:, :, 2] > 0).sum(axis=1).tolist() == [3, 1]


def test_unsure_joints_are_written_as_not_labelled():
    people = people_of([0.9, 0.2], heights=[50]).without_unsure_joints(0.5)
    (annotation,) = annotations_of(people)
    assert annotation["keypoints"][:6] == [3, 4, 2, 0, 0, 0]
    assert annotation["num_keypoints"] == 1
    assert annotation["bbox"] == [0, 1, 10, 50]


@pytest.fixture(scope="module")
def street(data: Path) -> Path:
    """A picture with several people taller than 100 pixels."""
    dataset = load_dataset(data / "coco_mini/val.json", data / "coco_mini/val")
    tall = np.bincount(dataset.picture_index[dataset.heights > 150])
    return dataset.pictures[int(tall.argmax())].path


def test_footage_becomes_a_set_to_train_on(street: Path, bundled: Path, tmp_path: Path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / street.name).write_bytes(street.read_bytes())
    picture = cv2.imread(str(street))
    size = picture.shape[1], picture.shape[0]
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
    for _ in range(5):
        video.write(picture)
    video.release()
    sources = [tmp_path / "day", tmp_path / "v.avi"]
    options = ["--every", 2, "--min-height", 100, "--joint-threshold", 0.2, "--min-joints", 5]
    options += ["--detector-size", 320]
    done = run("label", *sources, "--teacher", bundled, "--output", tmp_path / "p", *options)
    assert done.exit_code == 0, done.output
    assert "crops of 64x64 pixels" in done.stderr  # this teacher sees no more than the student

    dataset = load_dataset(tmp_path / "p/labels.json", tmp_path / "p/images")
    names = [picture.path.name for picture in dataset.pictures]
    frames = [f"v_avi_{i:06d}.jpg" for i in (0, 2, 4)]
    assert names == [street.name.replace(".", "_") + ".jpg", *frames]
    assert dataset.heights.min() >= 100
    joints = (dataset.keypoints[:, :, 2] > 0).sum(axis=1)
    assert joints.min() >= 5
    assert joints.min() < 17  # some were not sure
    read = dataset.pictures[0].read().astype(int)
    assert read.shape == picture.shape
    in_order, reversed_order = np.abs(read[..., ::-1] - picture), np.abs(read - picture)
    assert in_order.mean() < reversed_order.mean()  # of the colours


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-height", 5000], "nobody was labelled"),
        (["--teacher", "{detector}"], "a detector knows no joints"),
    ],
)
def test_labelling_that_cannot_be_says_why(
    street: Path, bundled: Path, repository: Path, tmp_path: Path, options: list, message: str
):
    filled = [str(o).format(detector=repository / "person_detector") for o in options]
    done = run("label", street, "--teacher", bundled, "--output", tmp_path / "p", *filled)
    assert isinstance(done.exception, LabellingError)
    assert message in str(done.exception)
    assert not (tmp_path / "p/labels.json").exists()


def test_two_sources_of_one_name_are_refused(street: Path, bundled: Path, tmp_path: Path):
    sources = [tmp_path / "a" / street.name, tmp_path / "b" / street.name]
    for source in sources:
        source.parent.mkdir()
        source.write_bytes(street.read_bytes())
    options = ["--min-height", 50, "--joint-threshold", 0, "--detector-size", 320]
    options += ["--output", tmp_path / "p"]
    done = run("label", *sources, "--teacher", bundled, *options)
    assert isinstance(done.exception, LabellingError)
    assert "has that name too" in str(done.exception)


def dataset_of(pictures: int) -> PoseDataset:
    """One person per picture, with all joints on a line and a torso of 12 pixels."""
    joints = np.column_stack([np.arange(17), np.zeros(17), np.full(17, 2)])
    joints[COCO17.index("left_shoulder"), :2] = [0, 0]
    joints[COCO17.index("right_hip"), :2] = [0, 12]
    return PoseDataset(
        keypoint_set=COCO17,
        pictures=tuple(Picture(i, Path(f"{i}.png"), 64, 64) for i in range(pictures)),
        picture_index=np.arange(pictures),
        boxes=np.tile([0.0, 0, 20, 20], (pictures, 1)),
        keypoints=np.tile(joints.astype(np.float32), (pictures, 1, 1)),
        areas=np.full(pictures, 400.0),
        ids=np.arange(pictures),
    )


def wrong_in(dataset: PoseDataset, wrong: dict[int, int]) -> np.ndarray:
    """Perfect predictions but for so many limb joints of these people, 50 pixels off."""
    predicted = dataset.keypoints.copy()
    for person, joints in wrong.items():
        predicted[person, list(COCO17.limb_indices)[:joints], 0] += 50
    return predicted


def changed(pictures: int, base: dict[int, int], new: dict[int, int]) -> Change:
    dataset = dataset_of(pictures)
    arrays = [wrong_in(dataset, wrong) for wrong in (base, new)]
    return pck_change(dataset, *arrays, np.random.default_rng(0))


def test_a_gain_in_most_pictures_is_an_improvement():
    change = changed(20, dict.fromkeys(range(20), 6), dict.fromkeys(range(15), 3))
    assert (change.base, change.new) == (0.5, pytest.approx(0.8125))
    assert change.low < 0.3125 < change.high
    assert change.improved


def test_a_gain_in_one_picture_is_chance():
    change = changed(20, {0: 12}, {})
    assert change.new > change.base
    assert not change.improved and not change.worsened


def test_the_same_model_is_no_improvement():
    change = changed(20, {3: 5}, {3: 5})
    assert (change.low, change.high) == (0, 0)
    assert not change.improved


def test_too_few_pictures_are_not_compared():
    with pytest.raises(LabellingError, match=r"^9 pictures .* at least 10"):
        changed(9, {}, {0: 1})


@pytest.mark.parametrize(
    ("pck", "ap", "better"),
    [
        ((0.01, 0.05), (-0.01, 0.03), True),  # one is better, the other is not worse
        ((-0.01, 0.05), (-0.01, 0.03), False),  # either could be chance
        ((0.01, 0.05), (-0.05, -0.01), False),  # one for the other
    ],
)
def test_a_model_is_better_if_a_score_improves_and_none_worsens(
    pck: tuple[float, float], ap: tuple[float, float], better: bool
):
    assert is_better((Change("PCK@0.2", 0, 0, *pck), Change("AP", 0, 0, *ap))) is better


def predictions_of(dataset: PoseDataset, keypoints: np.ndarray) -> Predictions:
    scores = np.ones(len(dataset))
    keypoints = np.concatenate([keypoints[..., :2], np.ones((*keypoints.shape[:2], 1))], axis=-1)
    return Predictions(dataset.picture_index, dataset.boxes, scores, keypoints)


def test_a_drawn_picture_keeps_its_people_and_their_predictions():
    dataset = dataset_of(3)
    crowd = Ignored(np.array([2]), np.zeros((1, 4)), np.ones(1), np.ones(1, bool))
    crowded = replace(dataset, picture_index=np.array([2, 0, 2]), ignored=crowd)
    drawn = redrawn_dataset(crowded, np.array([2, 1, 2]))
    assert drawn.picture_index.tolist() == [0, 0, 2, 2]
    assert drawn.ids.tolist() == [0, 2, 0, 2]
    assert [picture.id for picture in drawn.pictures] == [2, 1, 2]
    assert drawn.ignored.picture_index.tolist() == [0, 2]
    predictions = predictions_of(crowded, wrong_in(crowded, {2: 12}))
    again = redrawn(predictions, np.array([2, 1, 2]))
    assert again.picture_index.tolist() == [0, 0, 2, 2]
    assert np.array_equal(again.keypoints[1], predictions.keypoints[2])


def test_average_precision_is_compared_too():
    dataset = dataset_of(12)
    bad = predictions_of(dataset, wrong_in(dataset, dict.fromkeys(range(8), 12)))
    good = predictions_of(dataset, wrong_in(dataset, {}))
    change = ap_change(dataset, bad, good, np.random.default_rng(0), draws=20)
    assert change.new == pytest.approx(1)
    assert 0 < change.low < change.new - change.base < change.high


@pytest.fixture(scope="module")
def few_people(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that name a sixth of coco_mini/val."""
    content = json.loads((data / "coco_mini/val.json").read_text())
    chosen = {a["image_id"] for a in content["annotations"] if a["num_keypoints"] > 12}
    chosen = set(sorted(chosen)[:11])
    for key, name in (("images", "id"), ("annotations", "image_id")):
        content[key] = [entry for entry in content[key] if entry[name] in chosen]
    path = tmp_path_factory.mktemp("few") / "val.json"
    path.write_text(json.dumps(content))
    return ["--annotations", path, "--images", data / "coco_mini/val", "--draws", 20]


@pytest.fixture(scope="module")
def damaged(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with half of its head forgotten."""
    loaded = load_model(bundled)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in loaded.model.head.parameters():
            weight.mul_(torch.rand(weight.shape, generator=generator) < 0.5)
    path = tmp_path_factory.mktemp("damaged") / "checkpoint.safetensors"
    save_model(path, loaded.model, loaded.keypoint_set, {})
    return path


def test_a_better_model_is_kept(bundled: Path, damaged: Path, few_people: list[object]):
    done = run("keep", damaged, bundled, *few_people)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"keep {bundled}"
    assert "PCK@0.2: 0." in done.output and "AP: 0." in done.output


@pytest.mark.parametrize("other", ["the same", "a worse one"])
def test_a_model_that_is_not_better_does_not_replace_the_old_one(
    bundled: Path, damaged: Path, few_people: list[object], repository: Path, other: str
):
    new = repository / "lowres_pose" if other == "the same" else damaged
    done = run("keep", bundled, new, *few_people)
    assert done.exit_code == 1, done.output
    assert done.output.splitlines()[-1] == f"keep {bundled}"
