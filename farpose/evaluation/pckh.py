"""PCKh, MPII's measure: the share of joints that lie within a fraction of the head's size.

Andriluka et al., "2D Human Pose Estimation: New Benchmark and State of the Art Analysis" (CVPR
2014). As in HRNet's evaluation, pelvis and thorax do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset

EXCLUDED: Final = ("pelvis", "thorax")
"""Joints that do not count."""

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "head": ("head_top",),
    **{
        part: (f"left_{part}", f"right_{part}")
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
"""Parts that results are told by. The upper neck counts in the mean only."""


@dataclass(frozen=True)
class HeadAccuracy:
    """Shares 0..1; nan where no joint could be scored."""

    pckh_05: float
    """Within half the head's size, over all visible joints."""

    pckh_01: float
    parts: Mapping[str, float]
    """PCKh@0.5 of each of `PARTS`, the mean of left and right."""


def correct_by_head(
    predicted: NDArray[np.floating], truth: PoseDataset, fraction: float
) -> NDArray[np.float64]:
    """`[P,J]` 1 where within `fraction` of the head's size, 0 where not.

    Unlabelled joints, pelvis and thorax, and people whose head size is not known are nan.

    Args:
        predicted: `[P,J,2]` or `[P,J,3]`, picture pixels as 0-based indices; infinite where a
            person was not found.
        truth: people with head sizes.
        fraction: of the head's size.

    Raises:
        ValueError: the dataset has no head sizes.
    """
    if truth.head_sizes is None:
        raise ValueError("PCKh needs head sizes, which this dataset has not")
    distances = np.linalg.norm(
        predicted[..., :2].astype(np.float64) - truth.keypoints[..., :2], axis=-1
    )
    sizes = truth.head_sizes[:, None]
    counts = np.array([joint not in EXCLUDED for joint in truth.keypoint_set.joints])
    scored = (truth.keypoints[..., 2] > 0) & counts & (sizes > 0)
    return np.where(scored, distances <= fraction * sizes, np.nan)


def head_accuracy(predicted: NDArray[np.floating], truth: PoseDataset) -> HeadAccuracy:
    """PCKh of predictions that belong to the people of a dataset one to one.

    The mean over all visible joints is that of the joints' shares weighted by their visible counts.
    """
    halves = correct_by_head(predicted, truth, 0.5)
    names = truth.keypoint_set.joints
    parts = {
        part: _mean([_mean(halves[:, names.index(j)]) for j in joints if j in names])
        for part, joints in PARTS.items()
    }
    return HeadAccuracy(
        pckh_05=_mean(halves), pckh_01=_mean(correct_by_head(predicted, truth, 0.1)), parts=parts
    )


def _mean(values: NDArray[np.float64] | list[float]) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")
