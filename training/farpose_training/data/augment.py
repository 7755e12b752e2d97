"""Augmentation: one affine map per sample moves the pixels and the joints together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.crop import crop_affine
from farpose.geometry import BOX_SCALE
from farpose.keypoints import KeypointSet
from farpose_training.config import AugmentationConfig
from farpose_training.data.degrade import Degradation, degrade, draw_degradation

HALF_BODY_SCALE = 1.5
"""A half-body crop's box is the extent of its joints enlarged this much, as in the HRNet recipe."""

MIN_HALF_BODY_JOINTS = 8
"""Half-body crops are drawn only for people with more labelled joints than this."""

UPPER_BODY = ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "neck", "thorax", "head_top")


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


@dataclass(frozen=True)
class Sample:
    """One augmented crop."""

    crop: NDArray[np.uint8]
    """`[R,R,3]` RGB."""

    keypoints: NDArray[np.float32]
    """`[J,2]` crop pixels."""

    weights: NDArray[np.float32]
    """`[J]` 1 for labelled joints, else 0."""


class Augmenter:
    """Draws random views of labelled people, and renders them.

    Args:
        config: how strong each augmentation is.
        keypoint_set: the joints' names, for mirroring and half bodies.
    """

    def __init__(self, config: AugmentationConfig, keypoint_set: KeypointSet) -> None:
        self._config = config
        self._set = keypoint_set
        self._upper = np.array([any(part in j for part in UPPER_BODY) for j in keypoint_set.joints])

    def draw(
        self,
        box: NDArray[np.float64],
        keypoints: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> View:
        """A view of a person with box `[4]` and joints `[J,3]`, picture pixels."""
        config = self._config
        box = self._half_body(box, keypoints, rng)
        extent = box[2:] - box[:2]
        center = (box[:2] + box[2:]) / 2 - 0.5
        side = extent.max() * BOX_SCALE
        center = center + rng.uniform(-1, 1, 2) * config.shift * side
        side *= float(
            np.clip(1 + config.scale * rng.standard_normal(), 1 - config.scale, 1 + config.scale)
        )
        angle = 0.0
        if rng.random() < config.rotation_probability:
            angle = config.rotation * float(np.clip(rng.standard_normal(), -2, 2))
        mirrored = bool(rng.random() < config.flip)
        shrinking = 1.0
        if config.heights is not None:
            height = math.exp(rng.uniform(*np.log(config.heights)))
            shrinking = min(1.0, height / extent[1])
        colors = _draw_colors(config.color, rng)
        degradation = (
            None if config.degradation is None else draw_degradation(config.degradation, rng)
        )
        return View(center, side, angle, mirrored, shrinking, colors, degradation)

    def joints(
        self, view: View, keypoints: NDArray[np.float32], resolution: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Joints `[J,3]` in a view: `[J,2]` crop pixels, and `[J]` 1 for the labelled ones."""
        points = apply_affine(invert_affine(view.to_picture(resolution)), keypoints[:, :2])
        labelled = keypoints[:, 2] > 0
        if view.mirrored:
            points, labelled = points[self._set.flip_indices], labelled[self._set.flip_indices]
        return points.astype(np.float32), labelled.astype(np.float32)

    def __call__(
        self,
        picture: NDArray[np.uint8],
        box: NDArray[np.float64],
        keypoints: NDArray[np.float32],
        rng: np.random.Generator,
        resolution: int,
    ) -> Sample:
        """Crop one person of `picture` `[H,W,3]`, with box `[4]` and joints `[J,3]`."""
        view = self.draw(box, keypoints, rng)
        points, labelled = self.joints(view, keypoints, resolution)
        return Sample(render(picture, view, resolution), points, labelled)

    def _half_body(
        self, box: NDArray[np.float64], keypoints: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        labelled = keypoints[:, 2] > 0
        if labelled.sum() <= MIN_HALF_BODY_JOINTS or rng.random() >= self._config.half_body:
            return box
        half = labelled & (self._upper if rng.random() < 0.5 else ~self._upper)
        if half.sum() < 3:
            return box
        points = keypoints[half, :2].astype(np.float64) + 0.5
        low, high = points.min(axis=0), points.max(axis=0)
        if (high - low).max() < 2:
            return box
        middle, reach = (low + high) / 2, np.maximum((high - low) / 2 * HALF_BODY_SCALE, 1)
        return np.concatenate([middle - reach, middle + reach])


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


def _draw_colors(strength: float, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    if strength == 0:
        return None
    gain = (1 + strength * rng.uniform(-1, 1)) * (1 + strength / 3 * rng.uniform(-1, 1, 3))
    offset = 255 * strength / 2 * rng.uniform(-1, 1)
    table = np.arange(256)[:, None] * gain + offset
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)


def _recolored(crop: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    return crop if view.colors is None else np.asarray(cv2.LUT(crop, view.colors[None]), np.uint8)
