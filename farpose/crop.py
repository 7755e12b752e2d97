"""The reference crop: the one definition of what a pose model sees of a person.

Training on a CPU, every evaluation and every way of serving call this code, so a model is never
shown pixels that were resampled differently from those it learned. A crop is made from the level
of a mean pyramid that is still at least twice as fine as the crop, warped bilinearly to twice the
crop's resolution and averaged 2x2. It is anti-aliased at any scale, and its cost does not grow
with the size of the person.
"""

from __future__ import annotations

import math

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
    for crop, matrix in zip(crops, geometry.matrices(resolution), strict=True):
        crop[:] = crop_affine(frame, matrix, resolution)
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
    frame_pixels_per_pixel = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    level = max(0, math.floor(math.log2(frame_pixels_per_pixel / 2)))
    left, top, right, bottom = _footprint(matrix, resolution, level, frame.shape)
    if left >= right or top >= bottom:
        return np.zeros((resolution, resolution, 3), np.uint8)
    source = _halved(frame[top:bottom, left:right], level)

    # A pixel of the doubled crop is half a crop pixel wide: index h lies at (h - 1/2) / 2.
    from_doubled = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]])
    # A pixel of level L with index i covers 2^L frame pixels: its centre is 2^L i + (2^L - 1) / 2.
    to_source = matrix @ from_doubled
    to_source[:, 2] -= np.array([left, top]) + (2**level - 1) / 2
    to_source /= 2**level

    doubled = cv2.warpAffine(
        source,
        to_source,
        (2 * resolution, 2 * resolution),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return _halved(np.asarray(doubled, np.uint8), 1)


def _footprint(
    matrix: NDArray[np.float64], resolution: int, level: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """The part of the frame that a crop reads: left, top, right, bottom.

    Its left and top are multiples of `2^level`, so that halving the part gives the same pixels as
    halving the whole frame would.
    """
    corners = np.array([[x, y, 1] for x in (-1, resolution) for y in (-1, resolution)])
    reached = corners @ matrix.T
    step = 2**level
    low = np.floor(reached.min(axis=0) / step - 1) * step
    high = np.ceil(reached.max(axis=0) / step + 2) * step
    left, top = np.maximum(low, 0).astype(int)
    right, bottom = np.minimum(high, (shape[1], shape[0])).astype(int)
    return left, top, right, bottom


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
