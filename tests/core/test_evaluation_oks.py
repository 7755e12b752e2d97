from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
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
