"""Accuracy by how tall people are in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.oks import oks
from farpose.evaluation.pck import HEIGHT_BINS, correct_joints, pck


@dataclass(frozen=True)
class Accuracy:
    """Scores of some people."""

    people: int
    pck_02: float
    """Share of the limb joints within 0.2 torso lengths; nan where no joint could be scored."""

    pck_05: float
    mean_oks: float
    """Over people; nan without any."""


@dataclass(frozen=True)
class HeightBin:
    """People of height `low <= h < high`, in picture pixels."""

    low: float
    high: float
    accuracy: Accuracy


def accuracy(predicted: NDArray[np.floating], truth: PoseDataset) -> Accuracy:
    """Scores of predictions that belong to the people of a dataset one to one.

    Args:
        predicted: `[P,J,2]` or `[P,J,3]` in picture pixels with the dataset's joints; infinite
            where a person was not found, which makes all joints wrong and the OKS 0.
        truth: the people.
    """
    joints = truth.keypoint_set
    similarity = oks(predicted, truth.keypoints, truth.areas, joints.sigmas)
    scored = similarity[np.isfinite(similarity)]
    return Accuracy(
        people=len(truth),
        pck_02=pck(correct_joints(predicted, truth.keypoints, joints, 0.2)),
        pck_05=pck(correct_joints(predicted, truth.keypoints, joints, 0.5)),
        mean_oks=float(scored.mean()) if len(scored) else float("nan"),
    )


def by_height(predicted: NDArray[np.floating], truth: PoseDataset) -> tuple[HeightBin, ...]:
    """`accuracy` for every bin of box heights, empty ones too."""
    bins = []
    for low, high in pairwise(HEIGHT_BINS):
        people = (truth.heights >= low) & (truth.heights < high)
        bins.append(HeightBin(low, high, accuracy(predicted[people], truth.select(people))))
    return tuple(bins)
