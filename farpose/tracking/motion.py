"""Where people are now, told by their keypoints: boxes for pictures without a detector."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.people import People

SEEN: Final = 0.15
"""Joints that score less say nothing about a move."""

LEAST_JOINTS: Final = 4
"""So many joints must be seen in both pictures to tell a move by."""

MOST_GROWTH: Final = 1.1
"""A box grows or shrinks by at most this factor from one picture to the next."""

MOST_MOVE: Final = 0.25
"""A box moves by at most this share of its height from one picture to the next."""


def moved_boxes(before: People, after: People) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes `[P,4]` of `before`, moved and scaled as the keypoints of the same people did.

    The move is the median over the joints, weighted by their scores, the growth that of their
    spread around it: a joint that jumps to another place does not take the box along.

    Returns:
        The boxes, and `[P]` whose move could be told; the others stay where they were.
    """
    boxes = before.boxes.copy()
    told = np.zeros(len(boxes), bool)
    for i, box in enumerate(before.boxes):
        weights = np.minimum(before.keypoints[i, :, 2], after.keypoints[i, :, 2])
        seen = weights >= SEEN
        told[i] = seen.sum() >= LEAST_JOINTS
        if told[i]:
            old, new = before.keypoints[i, seen, :2], after.keypoints[i, seen, :2]
            boxes[i] = _moved(box.astype(np.float64), old, new, weights[seen].astype(np.float64))
    return boxes, told


def inside(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """`[P]`: whose box has its middle in a picture of that size."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray(((middles >= 0) & (middles < (width, height))).all(axis=1))


def at_border(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """`[P]`: who comes or goes, with a box that touches the border of the picture."""
    gaps = np.stack([boxes[:, 0], boxes[:, 1], width - boxes[:, 2], height - boxes[:, 3]])
    return np.asarray((gaps < 1).any(axis=0))


def _moved(
    box: NDArray[np.float64],
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    middles = _middle(old, weights), _middle(new, weights)
    spreads = [
        np.average(np.abs(points - middle).sum(axis=1), weights=weights)
        for points, middle in zip((old, new), middles, strict=True)
    ]
    growth = np.clip(spreads[1] / max(spreads[0], 1e-6), 1 / MOST_GROWTH, MOST_GROWTH)
    most = MOST_MOVE * (box[3] - box[1])
    move = np.clip(middles[1] - middles[0], -most, most)
    return np.asarray(((box.reshape(2, 2) - middles[0]) * growth + middles[0] + move).reshape(4))


def _middle(points: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted median `[2]` of points `[J,2]`, each axis for itself."""
    order = np.argsort(points, axis=0)
    summed = np.cumsum(weights[order], axis=0)
    halfway = (summed < summed[-1] / 2).sum(axis=0)
    chosen = np.take_along_axis(order, halfway[None], axis=0)
    return np.asarray(np.take_along_axis(points, chosen, axis=0)[0], np.float64)
