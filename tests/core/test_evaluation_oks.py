from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from farpose.evaluation.dataset import PoseDataset, load_dataset
from farpose.evaluation.ignored import Ignored
from farpose.evaluation.oks import (
    AveragePrecision,
    Predictions,
    average_precision,
    oks,
    oks_nms,
    rescored,
    without_duplicates,
)
from farpose.keypoints import COCO17, LSP14

SIGMAS = COCO17.sigmas
ONE = pytest.approx(1)
PERFECT = AveragePrecision(ONE, ONE, ONE, ONE)


def predictions(truth: PoseDataset, offset: float | np.ndarray = 0.0) -> Predictions:
    keypoints = truth.keypoints.astype(np.float64)
    keypoints[..., :2] += offset
    keypoints[..., 2] = 1
    return Predictions(truth.picture_index, truth.boxes, np.ones(len(truth)), keypoints)


def offset_for(truth: PoseDataset, similarity: float) -> np.ndarray:
    """`[P,J,2]` offsets in x that give every joint this OKS."""
    variances = 2 * truth.areas[:, None] * (2 * np.array(truth.keypoint_set.sigmas)) ** 2
    return np.stack([np.sqrt(-np.log(similarity) * variances), np.zeros(variances.shape)], axis=-1)


def test_oks_of_one_joint_by_hand():
    # A wrist has sigma 0.062; at d^2 = 2 area (2 sigma)^2 the similarity is 1/e.
    truth = np.zeros((1, 17, 3))
    truth[0, 9] = [50, 50, 2]
    predicted = np.zeros((1, 17, 2))
    predicted[0, 9] = [50 + np.sqrt(2 * 1000) * 2 * 0.062, 50]
    assert oks(predicted, truth, [1000.0], SIGMAS) == pytest.approx([np.exp(-1)])


def test_oks_ignores_unlabelled_joints_and_is_nan_without_any():
    truth = np.zeros((2, 17, 3))
    truth[0, 0, 2] = 1
    predicted = np.full((2, 17, 2), 1e6)
    predicted[0, 0] = 0
    similarity = oks(predicted, truth, np.ones(2), SIGMAS)
    assert similarity[0] == 1 and np.isnan(similarity[1])


def test_perfect_predictions_have_ap_1(labelled: PoseDataset):
    assert average_precision(labelled, predictions(labelled)) == PERFECT


def test_an_oks_of_0_72_counts_at_five_of_ten_thresholds(labelled: PoseDataset):
    moved = predictions(labelled, offset_for(labelled, 0.72))
    assert oks(moved.keypoints, labelled.keypoints, labelled.areas, SIGMAS) == pytest.approx(0.72)
    # 0.50, 0.55, 0.60, 0.65 and 0.70 are met, 0.75 to 0.95 are not.
    assert average_precision(labelled, moved) == AveragePrecision(
        pytest.approx(0.5), pytest.approx(1), pytest.approx(0), pytest.approx(0.5)
    )


def test_a_surer_false_person_lowers_the_precision(labelled: PoseDataset):
    right = predictions(labelled)
    false = predictions(labelled.select([0]), 1000.0)
    both = Predictions(
        np.append(right.picture_index, 0),
        np.append(right.boxes, false.boxes, axis=0),
        np.array([0.9, 0.9, 1.0]),
        np.append(right.keypoints, false.keypoints, axis=0),
    )
    result = average_precision(labelled, both)
    # Ranked false, right, right: precision is 2/3 at every recall.
    assert result.ap == pytest.approx(2 / 3, abs=0.01)
    assert result.ar == 1


def test_no_predictions_have_ap_0(labelled: PoseDataset):
    none = Predictions(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 3)))
    assert average_precision(labelled, none) == AveragePrecision(0, 0, 0, 0)


def test_other_keypoint_sets_have_their_own_sigmas(labelled: PoseDataset):
    truth = labelled.converted(LSP14)
    assert average_precision(truth, predictions(truth)) == PERFECT
    assert average_precision(truth, predictions(truth, offset_for(truth, 0.72))).ap == 0.5


def test_people_without_a_joint_of_the_set_are_not_missed(labelled: PoseDataset):
    keypoints = labelled.keypoints.copy()
    keypoints[1, :, 2] = 0
    truth = replace(labelled, keypoints=keypoints)
    assert average_precision(truth, predictions(truth)) == PERFECT


def test_the_pycocotools_report_stays_off_stdout(
    labelled: PoseDataset, capsys: pytest.CaptureFixture[str]
):
    average_precision(labelled, predictions(labelled))
    assert capsys.readouterr().out == ""


def test_rescoring_means_the_joints_above_0_2():
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, :, 2] = [0.6, 0.4] + [0.2] * 15
    found = Predictions(np.zeros(2, int), np.ones((2, 4)), np.array([0.5, 0.5]), keypoints)
    assert rescored(found).tolist() == pytest.approx([0.25, 0.0])


def test_nms_keeps_the_surest_of_similar_people(labelled: PoseDataset):
    one = predictions(labelled.select([0, 0, 0]))
    one.keypoints[1, :, 0] += 0.1  # the same person
    one.keypoints[2, :, 0] += 30  # somebody beside
    areas = np.full(3, 7200.0)
    assert oks_nms(one.keypoints, np.array([0.5, 0.9, 0.3]), areas, SIGMAS).tolist() == [1, 2]


def test_nms_leaves_similar_people_in_different_pictures(labelled: PoseDataset):
    same = predictions(labelled.select([0, 0]))
    apart = replace(same, picture_index=np.array([0, 1]))
    assert len(without_duplicates(same, SIGMAS)) == 1
    assert len(without_duplicates(apart, SIGMAS)) == 2


def street(folder: Path, seed: int) -> tuple[Path, list[dict[str, Any]]]:
    """A COCO file of 6 pictures: 4 people, a crowd and 2 people without a labelled joint in each.

    And what a model says of them: people a little off, some in the crowd, some on the unlabelled
    people and some on nobody, with as many scores.
    """
    rng = np.random.default_rng(seed)
    images, annotations, results = [], [], []
    for image in range(1, 7):
        cv2.imwrite(str(folder / f"{image}.png"), np.zeros((8, 8, 3), np.uint8))
        images.append({"id": image, "file_name": f"{image}.png", "width": 640, "height": 480})
        for number in range(7):
            width, height = rng.uniform(20, 60), rng.uniform(60, 120)
            box = [90.0 * number, rng.uniform(0, 300), width * (1 + (number == 6)), height]
            joints = (box[:2] + rng.uniform(0, 1, (17, 2)) * box[2:]).round()
            labelled = number < 4
            visible = np.full((17, 1), 2.0 * labelled)
            annotations.append(
                {
                    "id": 100 * image + number,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": int(number == 6),
                    "bbox": box,
                    "area": 0.6 * box[2] * box[3],
                    "num_keypoints": 17 * labelled,
                    "keypoints": (np.hstack([joints, visible]) * (visible > 0)).ravel().tolist(),
                }
            )
            for _ in range(1 if number < 6 else 3):
                moved = joints + rng.normal(0, 0.04 * height, (17, 2))
                results.append(answer(image, moved, rng.random()))
        results.append(answer(image, rng.uniform(2000, 2100, (17, 2)), rng.random()))
    path = folder / "street.json"
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints)}
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]})
    )
    return path, results


def answer(image: int, joints: np.ndarray, score: float) -> dict[str, Any]:
    keypoints = np.hstack([joints, np.ones((17, 1))]).ravel().tolist()
    return {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}


@pytest.mark.parametrize("seed", range(3))
def test_crowds_and_unlabelled_people_are_ignored_as_coco_does(tmp_path: Path, seed: int):
    path, results = street(tmp_path, seed)
    official = COCO(str(path))
    evaluation = COCOeval(official, official.loadRes(results), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    truth = load_dataset(path, tmp_path)
    found = Predictions(
        np.array([r["image_id"] - 1 for r in results]),
        np.ones((len(results), 4)),
        np.array([r["score"] for r in results]),
        np.array([r["keypoints"] for r in results]).reshape(-1, 17, 3),
    )
    scores = average_precision(truth, found)
    expected = evaluation.stats[[0, 1, 2, 5]]
    assert (scores.ap, scores.ap50, scores.ap75, scores.ar) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < scores.ap < 0.9
    assert average_precision(replace(truth, ignored=Ignored.empty()), found).ap < scores.ap - 0.01
