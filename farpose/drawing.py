"""Skeletons drawn onto a picture, or onto a plain background that shows nothing of it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.people import People

DRAW_THRESHOLD: Final = 0.2
"""Joints that score lower are not drawn unless the caller says otherwise."""

PALETTE: Final = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
"""RGB colours that colour-blind people tell apart (Okabe and Ito, 2008); people take turns."""

PLAIN_BACKGROUND: Final = (24, 26, 30)

_SHIFT: Final = 4
"""OpenCV draws at 1/16 pixel."""


def draw_people(
    frame: NDArray[np.uint8],
    people: People,
    *,
    threshold: float = DRAW_THRESHOLD,
    boxes: bool = True,
) -> NDArray[np.uint8]:
    """A copy of a frame `[H,W,3]` RGB with everybody's limbs, joints and boxes drawn on it."""
    canvas = frame.copy()
    for i in range(len(people)):
        _draw_person(canvas, people, i, threshold, boxes)
    return canvas


def draw_anonymous(
    width: int,
    height: int,
    people: People,
    *,
    threshold: float = DRAW_THRESHOLD,
    boxes: bool = False,
) -> NDArray[np.uint8]:
    """The same on a plain background `[height,width,3]`: poses without the picture."""
    canvas = np.full((height, width, 3), PLAIN_BACKGROUND, np.uint8)
    return draw_people(canvas, people, threshold=threshold, boxes=boxes)


def _draw_person(
    canvas: NDArray[np.uint8], people: People, i: int, threshold: float, boxes: bool
) -> None:
    color = PALETTE[i % len(PALETTE)]
    x1, y1, x2, y2 = map(float, people.boxes[i])
    thickness = max(1, round((y2 - y1) / 80))
    joints = people.keypoints[i]
    sure = joints[:, 2] >= max(threshold, np.finfo(np.float32).tiny)
    if boxes:
        # Continuous edges to the pixels they enclose.
        corners = _fixed(x1 - 0.5, y1 - 0.5), _fixed(x2 - 0.5, y2 - 0.5)
        cv2.rectangle(canvas, *corners, color, 1, cv2.LINE_AA, _SHIFT)
    for a, b in people.keypoint_set.edge_indices:
        if sure[a] and sure[b]:
            ends = _fixed(*joints[a, :2]), _fixed(*joints[b, :2])
            cv2.line(canvas, *ends, color, thickness, cv2.LINE_AA, _SHIFT)
    radius = round((thickness * 0.6 + 1) * 2**_SHIFT)
    for joint in joints[sure]:
        cv2.circle(
            canvas, _fixed(*joint[:2]), radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, _SHIFT
        )


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round(float(x) * 2**_SHIFT), round(float(y) * 2**_SHIFT)
