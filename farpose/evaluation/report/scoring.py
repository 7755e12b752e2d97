"""AP, PCK and OKS with intervals: over everybody, by height, and by part of the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.oks import oks
from farpose.evaluation.pck import HEIGHT_BINS, correct_joints
from farpose.evaluation.report.bootstrap import Draws, Estimate, too_few
from farpose.evaluation.report.precision import match_by_height
from farpose.evaluation.runner import PredictedPoses

METRICS: Final = ("AP", "PCK@0.2", "PCK@0.5", "mean OKS")

PARTS: Final = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
"""Of the limb joints, left and right together, in their order."""

EVERYBODY: Final = (0.0, np.inf)
"""The range of heights that holds all people."""


@dataclass(frozen=True)
class Cell:
    """Scores of the people of one range of heights."""

    low: float
    high: float
    """`low <= h < high`, box heights in picture pixels."""

    people: int
    pictures: int
    estimates: Mapping[str, Estimate]
    """By name of `METRICS`; one that would rest on too few people is not there."""


@dataclass(frozen=True)
class Scores:
    """How well the poses of one model, on clean or degraded frames, agree with the labels."""

    everybody: Cell
    heights: tuple[Cell, ...]
    parts: Mapping[str, Estimate]
    """PCK@0.2 by name of `PARTS`; those that would rest on too few people are not there."""

    similarities: NDArray[np.float64]
    """`[P]` OKS of each person; 0 for who was not found."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Everybody, then the bins from the smallest people to the largest."""
        return (self.everybody, *self.heights)


def score(poses: PredictedPoses, truth: PoseDataset, draws: Draws) -> Scores:
    """Compare a model's poses with the labels.

    Args:
        poses: of the people of `truth`, in pixels of its pictures.
        truth: the people.
        draws: of its pictures.

    Raises:
        ImportError: `pycocotools` is not installed (extra `evaluate`).
    """
    joints = truth.keypoint_set
    similarities = oks(poses.own, truth.keypoints, truth.areas, joints.sigmas)
    strict = correct_joints(poses.own, truth.keypoints, joints, 0.2)
    values = {
        "PCK@0.2": strict,
        "PCK@0.5": correct_joints(poses.own, truth.keypoints, joints, 0.5),
        "mean OKS": similarities,
    }
    ranges = [EVERYBODY, *pairwise(HEIGHT_BINS)]
    cells = []
    for (low, high), matches in zip(
        ranges, match_by_height(truth, poses.predictions, ranges), strict=True
    ):
        inside = (truth.heights >= low) & (truth.heights < high)
        pictures = truth.picture_index[inside]
        counts = int(inside.sum()), len(np.unique(pictures))
        estimates = {}
        if not too_few(*counts):
            estimates["AP"] = matches.average_precision(draws)
        for name, of_people in values.items():
            if _enough(of_people[inside], pictures):
                estimates[name] = draws.mean(of_people[inside], pictures)
        cells.append(Cell(low, high, *counts, estimates))
    parts = {
        part: draws.mean(of_part, truth.picture_index)
        for part, of_part in zip(PARTS, np.split(strict, len(PARTS), axis=1), strict=True)
        if _enough(of_part, truth.picture_index)
    }
    return Scores(cells[0], tuple(cells[1:]), parts, similarities)


def _enough(values: NDArray[np.float64], pictures: NDArray[np.intp]) -> bool:
    """Whether enough people, in enough pictures, have a value `[P]` or `[P,J]` that is not nan."""
    known = np.atleast_2d(np.isfinite(values).T).any(axis=0)
    return not too_few(int(known.sum()), len(np.unique(pictures[known])))
