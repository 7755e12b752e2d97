"""The reference crop: the one definition of what a pose model sees of a person.

Training on a CPU, every evaluation and every way of serving call this code, so a model is never
shown pixels that were resampled differently from those it learned. A crop is made from the level
of a mean pyramid that is still at least twice as fine as the crop, warped bilinearly to twice the
crop's resolution and averaged 2x2. It is anti-aliased at any scale, and its cost does not grow
with the size of the person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.geometry import CropGeometry


def crop_people(
    frame: NDArray[np.uint8], geometry: CropGeometry, resolution: int
) -> NDArray[np.uint8]:
    """Cut `N` upright square crops out of a frame.

    Args:
        frame: `[H,W,3]` UINT8.
        geometry: where the crops lie.
        resolution: `R`, the side of a crop in pixels.

    Returns:
        `[N,R,R,3]` UINT8; what lies outside the frame is 0.
    """
    crops = np.empty((len(geometry), resolution, resolution, 3), np.uint8)
    parts = _parts(geometry.matrices(resolution), resolution, frame.shape)
    halved = _shared_levels(frame, parts)
    for crop, part in zip(crops, parts, strict=True):
        crop[:] = part.crop(frame, resolution, halved.get(part.level))
    return crops


def crop_affine(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], resolution: int
) -> NDArray[np.uint8]:
    """Cut one crop along any affine map, as rotation and mirroring in training want it.

    Args:
        frame: `[H,W,3]` UINT8.
        matrix: `[2,3]`, maps crop pixels to frame pixels (pixel-centre indices).
        resolution: `R`.

    Returns:
        `[R,R,3]` UINT8.
    """
    (part,) = _parts(matrix[None], resolution, frame.shape)
    return part.crop(frame, resolution)


@dataclass(frozen=True)
class _Part:
    """The part of a frame that a crop reads, and how often it is halved first.

    `left` and `top` are multiples of `2^level`, so that halving the part gives the same pixels as
    halving the whole frame would.
    """

    matrix: NDArray[np.float64]
    level: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def crop(
        self,
        frame: NDArray[np.uint8],
        resolution: int,
        halved_frame: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """`[R,R,3]`; `halved_frame` is the whole frame halved `level` times, if there is one."""
        if not self.area:
            return np.zeros((resolution, resolution, 3), np.uint8)
        step = 2**self.level
        if halved_frame is None:
            part = frame[self.top : self.bottom, self.left : self.right]
            source = _halved(part, self.level)
        else:
            rows = slice(self.top // step, -(-self.bottom // step))
            columns = slice(self.left // step, -(-self.right // step))
            source = halved_frame[rows, columns]

        # A pixel of the doubled crop is half a crop pixel wide: index h lies at (h - 1/2) / 2.
        from_doubled = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]])
        # A pixel of level L with index i covers 2^L frame pixels: its centre is
        # 2^L i + (2^L - 1) / 2.
        to_source = self.matrix @ from_doubled
        to_source[:, 2] -= np.array([self.left, self.top]) + (step - 1) / 2
        to_source /= step

        doubled = cv2.warpAffine(
            source,
            to_source,
            (2 * resolution, 2 * resolution),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        return _halved(np.asarray(doubled, np.uint8), 1)


def _parts(matrices: NDArray[np.float64], resolution: int, shape: tuple[int, ...]) -> list[_Part]:
    """Those that crops along `matrices` `[N,2,3]` read of a frame of this shape."""
    frame_pixels_per_pixel = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])))
    levels = np.maximum(np.floor(np.log2(frame_pixels_per_pixel / 2)), 0).astype(int)
    corners = np.array([[x, y, 1] for x in (-1, resolution) for y in (-1, resolution)])
    reached = corners @ matrices.transpose(0, 2, 1)
    steps = (2**levels)[:, None]
    low = np.floor(reached.min(axis=1) / steps - 1) * steps
    high = np.ceil(reached.max(axis=1) / steps + 2) * steps
    edges = np.hstack([np.maximum(low, 0), np.minimum(high, (shape[1], shape[0]))]).astype(int)
    return [
        _Part(matrix, level, *sides)
        for matrix, level, sides in zip(matrices, levels.tolist(), edges.tolist(), strict=True)
    ]


def _shared_levels(
    frame: NDArray[np.uint8], parts: Sequence[_Part]
) -> dict[int, NDArray[np.uint8]]:
    """Levels of the whole frame: those whose parts are together larger than it."""
    areas: Counter[int] = Counter()
    for part in parts:
        areas[part.level] += part.area
    height, width = frame.shape[:2]
    return {
        level: _halved(frame, level)
        for level, area in areas.items()
        if level and area > height * width
    }


def _halved(image: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Average 2x2 blocks, rounding half up; an odd last row or column is repeated first."""
    for _ in range(times):
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        half = (image.shape[1] // 2, image.shape[0] // 2)
        # OpenCV's area interpolation at exactly one half is the 2x2 mean, rounded half up.
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return image
