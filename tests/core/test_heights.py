from __future__ import annotations

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.heights import accuracy, by_height

WRIST = 9


def test_perfect_people_have_1_everywhere(labelled: PoseDataset):
    scores = accuracy(labelled.keypoints, labelled)
    assert (scores.people, scores.pck_02, scores.pck_05, scores.mean_oks) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("pixels", "pck_02", "pck_05"),
    [
        (9.5, 1.0, 1.0),  # the torso is 50 pixels: a fifth is 10
        (10.5, 0.0, 1.0),
        (24.5, 0.0, 1.0),
        (25.5, 0.0, 0.0),
    ],
)
def test_pck_by_hand(labelled: PoseDataset, pixels: float, pck_02: float, pck_05: float):
    person = labelled.select([0])
    scores = accuracy(person.keypoints[..., :2] + [pixels, 0], person)
    assert (scores.pck_02, scores.pck_05) == (pck_02, pck_05)


def test_one_wrong_joint_of_twelve(labelled: PoseDataset):
    person = labelled.select([0])
    predicted = person.keypoints.copy()
    predicted[0, WRIST, 0] += 11
    assert accuracy(predicted, person).pck_02 == pytest.approx(11 / 12)


def test_a_person_not_found_is_wrong_in_all_joints(labelled: PoseDataset):
    predicted = labelled.keypoints.copy()
    predicted[1] = np.inf
    scores = accuracy(predicted, labelled)
    assert (scores.pck_02, scores.pck_05, scores.mean_oks) == (0.5, 0.5, 0.5)


def test_bins_hold_the_people_of_their_heights(labelled: PoseDataset):
    predicted = labelled.keypoints.copy()
    predicted[1] = np.inf
    bins = by_height(predicted, labelled)
    assert [(b.low, b.high) for b in bins] == [
        (0, 12),
        (12, 24),
        (24, 48),
        (48, 96),
        (96, 192),
        (192, np.inf),
    ]
    assert [b.accuracy.people for b in bins] == [0, 0, 0, 1, 1, 0]
    assert [b.accuracy.pck_02 for b in bins[3:5]] == [0, 1]
    assert np.isnan(bins[0].accuracy.pck_02) and np.isnan(bins[0].accuracy.mean_oks)


def test_a_height_on_an_edge_is_in_the_upper_bin(labelled: PoseDataset):
    labelled.boxes[0] = [0, 0, 40, 96]
    counts = [b.accuracy.people for b in by_height(labelled.keypoints, labelled)]
    assert counts == [0, 0, 0, 1, 1, 0]
