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

HALF_BODY_SCALE = 1.5
"""A half-body crop's box is the extent of its joints enlarged this much, as in the HRNet recipe."""

MIN_HALF_BODY_JOINTS = 8
"""Half-body crops are drawn only for people with more labelled joints than this."""

UPPER_BODY = ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "neck", "thorax", "head_top")


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
    """Draws random crops of labelled people.

    Args:
        config: how strong each augmentation is.
        keypoint_set: the joints' names, for mirroring and half bodies.
        resolution: `R`.
    """

    def __init__(
        self, config: AugmentationConfig, keypoint_set: KeypointSet, resolution: int
    ) -> None:
        self._config = config
        self._set = keypoint_set
        self._resolution = resolution
        self._upper = np.array([any(part in j for part in UPPER_BODY) for j in keypoint_set.joints])

    def __call__(
        self,
        picture: NDArray[np.uint8],
        box: NDArray[np.float64],
        keypoints: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> Sample:
        """Crop one person of `picture` `[H,W,3]`, with box `[4]` and joints `[J,3]`."""
        config, size = self._config, self._resolution
        labelled = keypoints[:, 2] > 0
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
        mirrored = rng.random() < config.flip

        to_picture = crop_matrix(center, side, angle, mirrored, size)
        points = apply_affine(invert_affine(to_picture), keypoints[:, :2])
        if config.heights is not None:
            height = math.exp(rng.uniform(*np.log(config.heights)))
            picture, to_picture = shrink(picture, to_picture, size, height / extent[1])
        crop = _recolor(crop_affine(picture, to_picture, size), config, rng)
        if mirrored:
            points, labelled = points[self._set.flip_indices], labelled[self._set.flip_indices]
        return Sample(crop, points.astype(np.float32), labelled.astype(np.float32))

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
    corners = np.array([[x, y] for x in (0, resolution) for y in (0, resolution)], np.float64)
    reached = apply_affine(to_picture, corners)
    margin = 2 / factor
    left, top = np.maximum(np.floor(reached.min(axis=0) - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(reached.max(axis=0) + margin), picture.shape[1::-1]).astype(
        int
    )
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


def _recolor(
    crop: NDArray[np.uint8], config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if config.color == 0:
        return crop
    gain = (1 + config.color * rng.uniform(-1, 1)) * (1 + config.color / 3 * rng.uniform(-1, 1, 3))
    offset = 255 * config.color / 2 * rng.uniform(-1, 1)
    table = np.arange(256)[:, None] * gain + offset
    lookup = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(crop, lookup[None]), np.uint8)
