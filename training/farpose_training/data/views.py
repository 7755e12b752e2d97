"""Views: how a person is looked at, and the crops that student and teacher see of it.

A view is drawn once and rendered at any resolution: the teacher's crop has the student's centre,
scale, rotation, mirroring and colours. Only the student's picture is shrunk and degraded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.crop import crop_affine
from farpose_training.data.degrade import Degradation, degrade


@dataclass(frozen=True)
class View:
    """How one person is looked at: everything that chance decides about a sample."""

    center: NDArray[np.float64]
    """`[2]` of the crop, picture pixels (index)."""

    side: float
    """Of the crop, picture pixels."""

    angle: float
    """Degrees."""

    mirrored: bool

    shrinking: float
    """Size of the picture the student sees, relative to the source; never above 1."""

    colors: NDArray[np.uint8] | None
    """`[256,3]` lookup table, if the colours change."""

    degradation: Degradation | None
    """What else a cheap camera does to the picture the student sees."""

    def to_picture(self, resolution: int) -> NDArray[np.float64]:
        """`[2,3]` map from pixels of the crop at `resolution` to picture pixels.

        The crop's centre is index (R/2, R/2) at every resolution, so the views of a teacher and of
        its student agree.
        """
        return crop_matrix(self.center, self.side, self.angle, self.mirrored, resolution)


def render(picture: NDArray[np.uint8], view: View, resolution: int) -> NDArray[np.uint8]:
    """The crop `[R,R,3]` that a student sees of a picture `[H,W,3]`."""
    small, to_picture = shrink(picture, view.to_picture(resolution), resolution, view.shrinking)
    if view.degradation is not None:
        small, to_picture = around(small, to_picture, resolution)
        small = degrade(small, view.degradation)
    return _recolored(crop_affine(small, to_picture, resolution), view)


def render_for_teacher(
    picture: NDArray[np.uint8], view: View, resolution: int
) -> NDArray[np.uint8]:
    """The same view `[R,R,3]` as a teacher sees it: neither shrunk nor degraded."""
    return _recolored(crop_affine(picture, view.to_picture(resolution), resolution), view)


def crop_matrix(
    center: NDArray[np.float64], side: float, angle: float, mirrored: bool, resolution: int
) -> NDArray[np.float64]:
    """`[2,3]` map from crop pixels to picture pixels.

    Args:
        center: crop centre in picture pixels (index).
        side: picture pixels.
        angle: degrees.
        mirrored: whether the crop shows the person left-right reversed.
        resolution: `R`.
    """
    turn = math.radians(angle)
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear *= side / resolution
    if mirrored:
        linear[:, 0] *= -1
    offset = center - linear @ np.full(2, resolution / 2)
    return np.column_stack([linear, offset])


def apply_affine(matrix: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map points `[...,2]` by `[2,3]`."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse `[2,3]` map."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def shrink(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], resolution: int, factor: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Area-resample the part of a picture that a crop sees, as if the camera stood further off.

    Returns:
        The smaller part and the map from crop pixels into it; both unchanged for `factor >= 1`,
        since a source is never enlarged.
    """
    if factor >= 1:
        return picture, to_picture
    left, top, right, bottom = _reach(picture, to_picture, resolution, margin=2 / factor)
    if right - left < 2 or bottom - top < 2:
        return picture, to_picture
    size = np.maximum(np.rint(np.array([right - left, bottom - top]) * factor), 1).astype(int)
    small = cv2.resize(picture[top:bottom, left:right], size.tolist(), interpolation=cv2.INTER_AREA)
    ratio = size / np.array([right - left, bottom - top])
    # An area keeps its continuous edges: index + 1/2 scales, so does the crop's origin.
    moved = to_picture.copy()
    moved[:, 2] += 0.5 - np.array([left, top])
    moved *= ratio[:, None]
    moved[:, 2] -= 0.5
    return np.asarray(small, np.uint8), moved


def around(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], resolution: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of a picture that a crop sees, a few pixels more, and the map into it."""
    left, top, right, bottom = _reach(picture, to_picture, resolution, margin=4)
    if right - left < 2 or bottom - top < 2:
        return picture, to_picture
    moved = to_picture.copy()
    moved[:, 2] -= [left, top]
    return picture[top:bottom, left:right], moved


def _reach(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], resolution: int, margin: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge of what a crop sees, within the picture."""
    corners = np.array([[x, y] for x in (0, resolution) for y in (0, resolution)], np.float64)
    reached = apply_affine(to_picture, corners)
    left, top = np.maximum(np.floor(reached.min(axis=0) - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(reached.max(axis=0) + margin), picture.shape[1::-1]).astype(
        int
    )
    return left, top, right, bottom


def _recolored(crop: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    return crop if view.colors is None else np.asarray(cv2.LUT(crop, view.colors[None]), np.uint8)
