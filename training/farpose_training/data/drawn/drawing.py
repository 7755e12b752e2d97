"""Shapes become pixels: a supersampled layer that says of each pixel which group is on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose_training.data.drawn.shapes import Group

FRACTION_BITS: Final = 6
"""OpenCV's polygon corners are in 64ths of a pixel."""

CIRCLE: Final = np.stack(
    [f(np.linspace(0, 2 * np.pi, 16, endpoint=False)) for f in (np.cos, np.sin)], axis=-1
)

SHADE: Final = 0.72
"""How dark the unlit side of a shape is."""


@dataclass(frozen=True)
class Placement:
    """Where a figure is in its picture: x to the right, y down, a pixel's middle is its index."""

    scale: float
    """Picture pixels of one body height."""

    offset: NDArray[np.float64]
    """`[2]` picture pixels of the viewer's origin."""

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[...,2]` picture pixels of `[...,3]` points."""
        return self.offset + points[..., :2] * (self.scale, -self.scale)


@dataclass(frozen=True)
class Layer:
    """A drawn figure in its picture's pixels."""

    colors: NDArray[np.float32]
    """`[H,W,3]` RGB, multiplied by the coverage."""

    coverage: NDArray[np.float32]
    """`[H,W]` 0 to 1."""

    groups: NDArray[np.uint8]
    """`[H*S,W*S]` 1 + index of the group on top, 0 where there is none."""

    supersampling: int

    def top(self, point: NDArray[np.float64]) -> int | None:
        """Index of the group on top at a picture pixel, none if there is nothing."""
        x, y = np.round((point + 0.5) * self.supersampling - 0.5).astype(int)
        height, width = self.groups.shape
        if not (0 <= x < width and 0 <= y < height):
            return None
        found = int(self.groups[y, x])
        return found - 1 if found else None


def extent(groups: Sequence[Group]) -> NDArray[np.float64]:
    """`[2,2]` least and largest x and y (up) of a figure, body heights."""
    shapes = [shape for group in groups for shape in group.shapes]
    centers = np.concatenate([shape.centers[:, :2] for shape in shapes])
    radii = np.concatenate([shape.radii for shape in shapes])[:, None]
    return np.stack([(centers - radii).min(axis=0), (centers + radii).max(axis=0)])


def draw(
    groups: Sequence[Group],
    placement: Placement,
    size: tuple[int, int],
    light: NDArray[np.float64],
    supersampling: int,
) -> Layer:
    """Draw groups over each other.

    Args:
        groups: from back to front, at most 255.
        placement: where they go.
        size: width and height of the picture.
        light: `[2]` unit vector (x right, y up) towards the light.
        supersampling: pixels drawn per picture pixel, along each side.
    """
    width, height = size
    canvas = np.zeros((height * supersampling, width * supersampling, 4), np.uint8)
    for index, group in enumerate(groups, start=1):
        for shape in group.shapes:
            dark = shape.color if shape.flat else tuple(SHADE * c for c in shape.color)
            _fill(canvas, shape.centers, shape.radii, placement, (*dark, index), supersampling)
            if not shape.flat:
                lit = shape.centers.copy()
                lit[:, :2] += 0.25 * shape.radii[:, None] * light
                radii = 0.74 * shape.radii
                color = (*shape.color, index)
                _fill(canvas, lit, radii, placement, color, supersampling)
    groups_on_top = canvas[..., 3].copy()
    canvas[..., 3] = np.where(groups_on_top > 0, 255, 0)
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return Layer(small[..., :3], small[..., 3] / 255, groups_on_top, supersampling)


def _fill(
    canvas: NDArray[np.uint8],
    centers: NDArray[np.float64],
    radii: NDArray[np.float64],
    placement: Placement,
    color: tuple[float, ...],
    supersampling: int,
) -> None:
    middles = placement.pixels(centers)
    rims = middles[:, None] + placement.scale * radii[:, None, None] * CIRCLE
    fine = (rims.reshape(-1, 2) + 0.5) * supersampling - 0.5
    corners = np.round(fine * (1 << FRACTION_BITS)).astype(np.int32)
    hull = cv2.convexHull(corners)
    cv2.fillConvexPoly(canvas, hull, color, shift=FRACTION_BITS)
