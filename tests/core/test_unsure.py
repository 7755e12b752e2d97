"""Joints that are more likely wrong than right are told apart, by thresholds chosen on data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from farpose.evaluation.unsure import Joints, choose, judge
from farpose.people import People
from farpose.unsure import DEFAULT, UNSURE_BELOW, unsure_joints


def people(scores: list[float], models: tuple[str, ...]) -> People:
    size = len(models)
    keypoints = np.zeros((size, 17, 3), np.float32)
    keypoints[:, : len(scores), 2] = scores
    return replace(
        People.empty(),
        boxes=np.ones((size, 4), np.float32),
        scores=np.ones(size, np.float32),
        keypoints=keypoints,
        variances=np.zeros((size, 17, 2), np.float32),
        models=models,
    )


def test_each_model_has_its_own_threshold():
    names = ("lowres_pose", "lowres_pose_32", "mine")
    flags = unsure_joints(people([0.18, 0.16, 0.5, 0.0], names))
    assert flags.shape == (3, 17)
    assert flags[:, :4].tolist() == [
        [True, True, False, True],
        [False, True, False, True],
        [DEFAULT > 0.18, DEFAULT > 0.16, False, True],
    ]
    assert UNSURE_BELOW["lowres_pose"] == 0.19
    assert unsure_joints(People.empty()).shape == (0, 17)


def test_a_threshold_is_the_least_doubt_that_is_right_often_enough():
    doubt = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.0])
    wrong = np.array([1, 1, 0, 1, 1, 0, 0, 0, 1, 0], bool)
    assert choose(doubt, wrong) == 5  # 4 of 5; one more would be 4 of 6
    found = judge(doubt, wrong, 5)
    assert (found.flagged, found.precision, found.recall) == (0.5, 0.8, 0.8)


def test_where_doubt_tells_nothing_nothing_is_flagged():
    doubt = np.arange(4.0)
    threshold = choose(doubt, np.zeros(4, bool))
    found = judge(doubt, np.zeros(4, bool), threshold)
    assert threshold == float("inf")
    assert found.flagged == 0
    assert np.isnan(found.precision)


@pytest.mark.parametrize("second", [False, True])
def test_halves_are_of_people(second: bool):
    halves = np.array([False, False, True, False])
    joints = Joints(halves, np.arange(4.0), np.arange(4.0), halves)
    assert joints.half(second=second).scores.tolist() == ([2] if second else [0, 1, 3])
