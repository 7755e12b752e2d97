"""Augmentation: what chance decides about a sample, drawn as a view of a person."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from farpose.geometry import BOX_SCALE
from farpose.keypoints import KeypointSet
from farpose_training.config import AugmentationConfig
from farpose_training.data.degrade import draw_degradation
from farpose_training.data.views import View, apply_affine, invert_affine, render

RECIPE = 2
"""Counted up when the same settings and seed give other views, so that no bank is made of two."""

HALF_BODY_SCALE = 1.5 / BOX_SCALE
"""A half-body crop's box is the extent of its joints enlarged this much: the crop, which is larger
than its box, is 1.5 times that extent, as in the HRNet recipe."""

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
        """The box of the person's upper or lower half, by chance, or the whole person's.

        As in the HRNet recipe (Sun et al., CVPR 2019) a half with fewer than 3 labelled joints
        gives way to the other one, and the crop is 1.5 times the extent of the half's joints. Two
        things differ from its published code:

        - The upper half is drawn in 50 % of the cases. There it is in 69 %, as a normal deviate is
          compared with 0.5.
        - The crop is centred on the middle of the joints' extent, so before shift, scale and
          rotation every joint of the half is inside, at least a sixth of the crop from its edge.
          There it is centred on the joints' mean, which lies where most of them are: in an upper
          half, near the face.

        A height drawn afterwards (`heights`) is that of the half.
        """
        labelled = keypoints[:, 2] > 0
        if labelled.sum() <= MIN_HALF_BODY_JOINTS or rng.random() >= self._config.half_body:
            return box
        half = labelled & (self._upper if rng.random() < 0.5 else ~self._upper)
        if half.sum() < 3:
            half = labelled & ~half
        points = keypoints[half, :2].astype(np.float64) + 0.5
        low, high = points.min(axis=0), points.max(axis=0)
        if (high - low).max() < 2:
            return box
        middle, reach = (low + high) / 2, np.maximum((high - low) / 2 * HALF_BODY_SCALE, 1)
        return np.concatenate([middle - reach, middle + reach])


def _draw_colors(strength: float, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    if strength == 0:
        return None
    gain = (1 + strength * rng.uniform(-1, 1)) * (1 + strength / 3 * rng.uniform(-1, 1, 3))
    offset = 255 * strength / 2 * rng.uniform(-1, 1)
    table = np.arange(256)[:, None] * gain + offset
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)
