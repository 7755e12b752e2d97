from __future__ import annotations

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.oks import Predictions
from farpose.evaluation.report.calibration import EXPECTED, calibrate
from farpose.evaluation.report.examples import lowest, verdict
from farpose.evaluation.report.mistakes import Mistake, errors_of
from farpose.evaluation.runner import PredictedPoses

# Person 0 of `labelled` has a torso of 50 pixels: a joint is correct within 10.
LEFT_WRIST, RIGHT_WRIST, NOSE = 9, 10, 0


def poses(own: np.ndarray, variances: np.ndarray | float = 1.0) -> PredictedPoses:
    spread = np.broadcast_to(variances, (*own.shape[:2], 2)).astype(np.float32)
    nobody = Predictions(np.zeros(0, np.intp), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 3)))
    return PredictedPoses(own.astype(np.float32), spread, nobody)


def perfect(truth: PoseDataset, score: float = 0.5) -> np.ndarray:
    own = truth.keypoints.copy()
    own[..., 2] = score
    return own


def together(labelled: PoseDataset) -> PoseDataset:
    """Both people in the first picture."""
    labelled.picture_index[:] = 0
    return labelled


@pytest.mark.parametrize(
    ("shift", "mistake"),
    [
        ((9.9, 0.0), Mistake.NONE),
        ((0.0, 10.1), Mistake.NEAR),
        ((0.0, 24.9), Mistake.NEAR),
        ((0.0, 25.1), Mistake.FAR),
        ((-50.0, 0.0), Mistake.LEFT_RIGHT),  # the right wrist lies 50 pixels to the left
        ((-41.0, 0.0), Mistake.LEFT_RIGHT),
    ],
)
def test_a_wrist_that_is_off(labelled: PoseDataset, shift: tuple[float, float], mistake: Mistake):
    own = perfect(labelled)
    own[0, LEFT_WRIST, :2] += shift
    errors = errors_of(poses(own), labelled)
    assert errors.mistakes[0, LEFT_WRIST] == mistake
    assert errors.pixels[0, LEFT_WRIST] == pytest.approx(np.hypot(*shift), abs=1e-3)
    assert errors.torsos[0, LEFT_WRIST] == pytest.approx(np.hypot(*shift) / 50, abs=1e-3)
    assert errors.count(Mistake.NONE) == 34 - (mistake is not Mistake.NONE)


def test_a_nose_has_no_other_side(labelled: PoseDataset):
    own = perfect(labelled)
    own[0, NOSE, :2] += 12
    assert errors_of(poses(own), labelled).mistakes[0, NOSE] == Mistake.NEAR


@pytest.mark.parametrize("of", [LEFT_WRIST, RIGHT_WRIST])
def test_a_joint_on_another_person_of_the_picture(labelled: PoseDataset, of: int):
    own = perfect(labelled)
    own[0, LEFT_WRIST, :2] = labelled.keypoints[1, of, :2] + 5
    apart = errors_of(poses(own), labelled).mistakes[0, LEFT_WRIST]
    assert apart == Mistake.FAR
    found = errors_of(poses(own), together(labelled)).mistakes[0, LEFT_WRIST]
    assert found == Mistake.OTHER_PERSON


def test_unlabelled_joints_have_no_error_and_are_nobodys_target(labelled: PoseDataset):
    labelled.keypoints[:, RIGHT_WRIST, 2] = 0
    own = perfect(together(labelled))
    own[0, LEFT_WRIST, :2] = labelled.keypoints[0, RIGHT_WRIST, :2]
    own[0, RIGHT_WRIST, :2] += 300
    errors = errors_of(poses(own), labelled)
    assert errors.mistakes[0, RIGHT_WRIST] == Mistake.UNLABELLED
    assert np.isnan(errors.pixels[0, RIGHT_WRIST])
    assert errors.mistakes[0, LEFT_WRIST] == Mistake.FAR
    assert errors.wrong.sum() == 1


def test_a_person_who_was_not_found(labelled: PoseDataset):
    own = perfect(labelled)
    own[1] = np.inf
    found = poses(own, np.inf)
    errors = errors_of(found, labelled)
    assert errors.count(Mistake.NOT_FOUND) == 17
    said = verdict(1, found, errors, np.array([1.0, 0.0]), labelled)
    assert (said.wrong, said.worst, said.mistakes) == (17, None, {Mistake.NOT_FOUND: 17})


def test_a_verdict_names_the_farthest_joint(labelled: PoseDataset):
    own = perfect(labelled, 0.4)
    own[0, LEFT_WRIST] += (0, 20, 0.3)
    own[0, NOSE, 0] += 30
    found = poses(own)
    said = verdict(0, found, errors_of(found, labelled), np.array([0.7, 1]), labelled)
    assert (said.similarity, said.wrong, said.labelled) == (0.7, 2, 17)
    assert said.worst.name == "nose"
    assert (said.worst.pixels, said.worst.torsos) == pytest.approx((30, 0.6), abs=1e-3)
    assert said.worst.score == pytest.approx(0.4)
    assert said.mean_score == pytest.approx(0.4 + 0.3 / 17)
    assert said.mistakes == {Mistake.NEAR: 1, Mistake.FAR: 1}


def test_the_lowest_are_few_of_one_picture_and_have_labels(labelled: PoseDataset, repeat):
    many = repeat(labelled, 3)
    many.picture_index[:] = [0, 0, 0, 1, 1, 2]
    many.keypoints[4, 3:, 2] = 0
    values = np.array([0.3, 0.1, 0.2, np.nan, 0.0, 0.9])
    everybody = np.ones(6, bool)
    assert lowest(values, many, everybody, 5) == [1, 2, 5]
    assert lowest(values, many, everybody, 1) == [1]
    assert lowest(values, many, np.arange(6) != 1, 5) == [2, 0, 5]


@pytest.mark.parametrize(
    ("factor", "within"),
    [(1.0, EXPECTED), (2.0, (1 - np.exp(-1 / 8), 1 - np.exp(-1 / 2)))],
)
def test_spreads_that_are_right_and_half_as_large(
    labelled: PoseDataset, repeat, factor: float, within: tuple[float, float]
):
    many = repeat(labelled, 100)
    own = perfect(many)
    deviations = np.array([2.0, 3.0])
    own[..., :2] += np.random.default_rng(0).normal(0, 1, own[..., :2].shape) * deviations
    found = calibrate(poses(own, (deviations / factor) ** 2), many)
    assert found.spread_factor == pytest.approx(factor, rel=0.05)
    assert found.within == pytest.approx(within, abs=0.02)


@pytest.mark.parametrize(("score", "gap"), [(1.0, 0.0), (0.7, 0.3)])
def test_the_gap_between_scores_and_what_is_correct(
    labelled: PoseDataset, score: float, gap: float
):
    found = calibrate(poses(perfect(labelled, score)), labelled)
    assert found.score_gap == pytest.approx(gap, abs=1e-6)


def test_nobody_found_cannot_be_calibrated(labelled: PoseDataset):
    own = np.full((2, 17, 3), np.inf)
    found = calibrate(poses(own, np.inf), labelled)
    assert found.reliability.joints == 0
    assert np.isnan([found.score_gap, found.spread_factor, *found.within]).all()
