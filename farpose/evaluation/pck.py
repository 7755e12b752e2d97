"""PCK: the share of joints that lie within a fraction of the person's torso."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from farpose.keypoints import KeypointSet

HEIGHT_BINS = (0.0, 12.0, 24.0, 48.0, 96.0, 192.0, np.inf)
"""Edges of the person heights (pixels) that accuracy is reported by."""


def torso_lengths(
    keypoints: NDArray[np.floating], keypoint_set: KeypointSet
) -> NDArray[np.float64]:
    """`[P]` distance from left shoulder to right hip in pixels, nan where either is unlabelled.

    Args:
        keypoints: `[P,J,3]` truth with visibility.
        keypoint_set: the set its joints are of.
    """
    ends = keypoints[:, [keypoint_set.index("left_shoulder"), keypoint_set.index("right_hip")]]
    lengths = np.linalg.norm(ends[:, 0, :2].astype(np.float64) - ends[:, 1, :2], axis=-1)
    return np.where((ends[:, :, 2] > 0).all(axis=1) & (lengths > 0), lengths, np.nan)


def correct_joints(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    keypoint_set: KeypointSet,
    fraction: float = 0.2,
) -> NDArray[np.float64]:
    """`[P,12]` over the limb joints: 1 where within `fraction` of the torso, 0 where not.

    Joints that are unlabelled, and all joints of people without a torso, are nan.

    Args:
        predicted: `[P,J,2]` or `[P,J,3]`, pixels of the picture.
        truth: `[P,J,3]`, same pixels.
        keypoint_set: the set both are of.
        fraction: of the torso.
    """
    limbs = list(keypoint_set.limb_indices)
    distances = np.linalg.norm(
        predicted[:, limbs, :2].astype(np.float64) - truth[:, limbs, :2], axis=-1
    )
    torso = torso_lengths(truth, keypoint_set)[:, None]
    scored = (truth[:, limbs, 2] > 0) & np.isfinite(torso)
    return np.where(scored, distances <= fraction * torso, np.nan)


def pck(correct: NDArray[np.float64]) -> float:
    """Share of the scored joints that are correct; nan when none is scored."""
    return float(np.nanmean(correct)) if np.isfinite(correct).any() else float("nan")
