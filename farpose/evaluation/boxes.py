"""The boxes that an evaluation crops by: labelled ones made alike, and detected ones matched."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.geometry import box_iou

EXTENT_SCALE: Final = 1.2
"""Boxes that only span the labelled joints are about this much smaller than a detector's."""

MATCH_IOU: Final = 0.3
"""A detected box belongs to a person if their intersection over union is at least this."""

_TOLERANCE: Final = 1.0
_SIDES: Final = 3
_SHARE: Final = 0.9


def are_joint_extents(dataset: PoseDataset) -> bool:
    """Whether the labelled boxes only span the labelled joints, as those of LSP do.

    So it is if, for more than 90 % of the people, three sides of the box run within a pixel of the
    outermost joint; the fourth is free because a file may leave out joints, such as the head, that
    its boxes were made from.
    """
    labelled = dataset.keypoints[..., 2:] > 0
    points = dataset.keypoints[..., :2].astype(np.float64)
    low = np.where(labelled, points, np.inf).min(axis=1)
    high = np.where(labelled, points, -np.inf).max(axis=1)
    touching = np.abs(np.concatenate([low, high], axis=1) - dataset.boxes) <= _TOLERANCE
    return bool((touching.sum(axis=1) >= _SIDES).mean() > _SHARE)


def with_scaled_boxes(dataset: PoseDataset, scale: float) -> PoseDataset:
    """The same people in boxes enlarged about their centres; the areas for OKS stay."""
    corners = dataset.boxes.reshape(-1, 2, 2)
    centers = corners.mean(axis=1, keepdims=True)
    return replace(dataset, boxes=((corners - centers) * scale + centers).reshape(-1, 4))


def match_people(
    people: NDArray[np.floating], found: NDArray[np.floating], iou: float = MATCH_IOU
) -> NDArray[np.intp]:
    """`[P]` the found box of each person, -1 where none; the best overlaps are taken first.

    Args:
        people: `[P,4]` x1, y1, x2, y2.
        found: `[K,4]` in the same pixels; each is given to one person at most.
        iou: least intersection over union of a match.
    """
    overlaps = box_iou(people, found)
    matches = np.full(len(people), -1, np.intp)
    while overlaps.size and overlaps.max() >= iou:
        person, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
        matches[person] = box
        overlaps[person, :] = -1
        overlaps[:, box] = -1
    return matches
