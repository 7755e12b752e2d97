"""Whether scores and variances tell how wrong a joint is: rank correlations, and a table by score.

Joints are those that are labelled and whose person was found. The error is the distance to the
label; the predicted spread is its standard deviation, the root of the summed variances of x and y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.pck import torso_lengths

BINS: Final = 10
"""Groups of equally many joints."""

FRACTION: Final = 0.2
"""A joint is right if its error is at most this share of the torso, as in PCK@0.2."""

TORSO_OF_BOX: Final = 1 / 3
"""Torso of a person for whom it is not labelled, in longer sides of the box. The median torso is
0.34 of it in `lspet/val` (boxes enlarged by 1.2) and 0.38 in `coco_mini/val`."""


@dataclass(frozen=True)
class ScoreBin:
    """Joints of similar score."""

    joints: int
    score: float
    """Mean."""

    correct: float
    """Share of the joints that are right."""


@dataclass(frozen=True)
class SpreadBin:
    """Joints of similar predicted spread; all in longer sides of the box."""

    joints: int
    spread: float
    """Mean."""

    error: float
    """Median."""

    quartiles: tuple[float, float]
    """A quarter of the errors are smaller than the first, and a quarter larger than the second."""


@dataclass(frozen=True)
class Reliability:
    """How scores and spreads go with errors.

    The correlations are Spearman's, over joints: 1 if the order is the same, 0 without relation,
    nan where all joints are alike. In pixels they also see how large people are: spread and error
    both grow with the person. Relative to the longer side of the box, which the crop is made from,
    they do not. (The torso would not do: foreshortened, it makes both large together.)
    """

    joints: int
    spread_pixels: float
    """Of spread and error in pixels."""

    spread_relative: float
    """Of spread and error in longer sides of the box."""

    doubt_pixels: float
    """Of 1 - score and the error in pixels."""

    doubt_relative: float
    """Of 1 - score and the error in longer sides of the box."""

    score_bins: tuple[ScoreBin, ...]
    """`BINS` groups from the lowest score to the highest."""

    spread_bins: tuple[SpreadBin, ...]
    """`BINS` groups from the smallest spread to the largest."""


def reliability(
    predicted: NDArray[np.floating], variances: NDArray[np.floating], truth: PoseDataset
) -> Reliability:
    """Compare scores and variances with the errors of predictions, person by person.

    Args:
        predicted: `[P,J,3]` x, y in picture pixels, and score; infinite where a person was not
            found, whose joints are left out.
        variances: `[P,J,2]` of x and y, picture pixels squared.
        truth: the people, with the same joints.

    Raises:
        ModuleNotFoundError: SciPy is not installed (extra `evaluate`).
    """
    people, joints = np.nonzero((truth.keypoints[..., 2] > 0) & np.isfinite(predicted[..., 0]))
    found = predicted[people, joints].astype(np.float64)
    errors = np.linalg.norm(found[:, :2] - truth.keypoints[people, joints, :2], axis=1)
    spreads = np.sqrt(variances[people, joints].astype(np.float64).sum(axis=1))
    scores = found[:, 2]
    sides = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1)
    correct = errors <= FRACTION * torsos_or_boxes(truth)[people]
    relative, relative_spreads = errors / sides[people], spreads / sides[people]
    return Reliability(
        joints=len(errors),
        spread_pixels=_rank_correlation(spreads, errors),
        spread_relative=_rank_correlation(relative_spreads, relative),
        doubt_pixels=_rank_correlation(-scores, errors),
        doubt_relative=_rank_correlation(-scores, relative),
        score_bins=tuple(
            ScoreBin(len(b), float(scores[b].mean()), float(correct[b].mean()))
            for b in _equal_bins(scores)
        ),
        spread_bins=tuple(
            _spread_bin(relative_spreads[b], relative[b]) for b in _equal_bins(relative_spreads)
        ),
    )


def torsos_or_boxes(truth: PoseDataset) -> NDArray[np.float64]:
    """`[P]` torso lengths in picture pixels; `TORSO_OF_BOX` of the box where there is none."""
    sides = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1)
    torsos = torso_lengths(truth.keypoints, truth.keypoint_set)
    return np.where(np.isfinite(torsos), torsos, TORSO_OF_BOX * sides)


def _spread_bin(spreads: NDArray[np.float64], errors: NDArray[np.float64]) -> SpreadBin:
    low, middle, high = (float(q) for q in np.quantile(errors, [0.25, 0.5, 0.75]))
    return SpreadBin(len(errors), float(spreads.mean()), middle, (low, high))


def _equal_bins(values: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of groups whose sizes differ by at most 1; equal values stay in their order."""
    order = np.argsort(values, kind="stable")
    return np.array_split(order, min(BINS, len(order))) if len(order) else []


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    from scipy.stats import spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)
