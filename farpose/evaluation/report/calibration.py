"""How far scores and variances can be taken at their word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.reliability import Reliability, reliability
from farpose.evaluation.report.bootstrap import too_few
from farpose.evaluation.runner import PredictedPoses

SIGMAS: Final = (1.0, 2.0)
"""Radii, in predicted standard deviations, within which errors are counted."""

EXPECTED: Final = tuple(1 - math.exp(-(radius**2) / 2) for radius in SIGMAS)
"""Share of a two-dimensional Gaussian within these radii."""

_MEDIAN: Final = 2 * math.log(2)
"""Median of the squared radius, in squared standard deviations, of such a Gaussian."""

_LEAST_VARIANCE: Final = 1e-9


@dataclass(frozen=True)
class Calibration:
    """Of all labelled joints of people who were found."""

    reliability: Reliability

    people: int
    pictures: int
    """Whom these joints belong to, and where they are."""

    score_gap: float
    """Mean distance, over the bins of the reliability and weighted by their joints, between the
    mean score and the share of right joints: the expected calibration error. nan without joints."""

    within: tuple[float, ...]
    """Share of the errors within each of `SIGMAS` predicted standard deviations."""

    spread_factor: float
    """What predicted standard deviations must be multiplied by so that half of the errors lie
    where half of a Gaussian does: 1 if they are right, more if they are too small."""

    @property
    def enough(self) -> bool:
        """Whether these are enough people to say something."""
        return not too_few(self.people, self.pictures)


def calibrate(poses: PredictedPoses, truth: PoseDataset) -> Calibration:
    """Compare the scores and variances of a model with its errors.

    Raises:
        ModuleNotFoundError: SciPy is not installed (extra `evaluate`).
    """
    measured = reliability(poses.own, poses.own_variances, truth)
    people, joints = np.nonzero((truth.keypoints[..., 2] > 0) & poses.found[:, None])
    if not len(people):
        nothing = float("nan")
        return Calibration(measured, 0, 0, nothing, tuple(nothing for _ in SIGMAS), nothing)
    offsets = poses.own[people, joints, :2].astype(np.float64) - truth.keypoints[people, joints, :2]
    variances = np.maximum(poses.own_variances[people, joints].astype(np.float64), _LEAST_VARIANCE)
    squared = (offsets**2 / variances).sum(axis=1)
    gaps = [b.joints * abs(b.correct - b.score) for b in measured.score_bins]
    return Calibration(
        reliability=measured,
        people=len(np.unique(people)),
        pictures=len(np.unique(truth.picture_index[people])),
        score_gap=sum(gaps) / measured.joints,
        within=tuple(float((squared <= radius**2).mean()) for radius in SIGMAS),
        spread_factor=math.sqrt(float(np.median(squared)) / _MEDIAN),
    )
