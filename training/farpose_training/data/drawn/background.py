"""What is behind a figure and before it: gradients, noise and clutter."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FRACTION_BITS: Final = 4
"""OpenCV's corners are in 16ths of a pixel."""


def background(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """`[H,W,3]` RGB: a gradient, noise of several octaves, and things standing about.

    Args:
        size: width and height.
        rng: draws it.
    """
    picture = texture(size, rng)
    if rng.random() < 0.6:
        _floor(picture, size, rng)
    for _ in range(rng.integers(0, 12)):
        _thing(picture, size, rng)
    if rng.random() < 0.5:
        width = float(rng.uniform(0.3, 1.5)) * max(size) / 256
        picture = cv2.GaussianBlur(picture, (0, 0), max(width, 0.3))
    return np.asarray(picture, np.uint8)


def texture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """`[H,W,3]` RGB noise of several octaves over a gradient between two colours."""
    width, height = size
    corners = np.clip(rng.uniform(30, 225) + rng.normal(0, 22, (2, 2, 3)), 0, 255)
    strength, tint = rng.uniform(4, 34), rng.normal(1, 0.12, 3)
    noise = np.zeros((height, width), np.float32)
    for cells in (4, 12, 36, 96):
        if cells > max(size):
            break
        rows = max(2, round(cells * height / max(size)))
        columns = max(2, round(cells * width / max(size)))
        noise += _enlarged(rng.normal(0, strength, (rows, columns)), size, cv2.INTER_CUBIC)
        strength *= rng.uniform(0.4, 0.9)
    gradient = _enlarged(corners, size, cv2.INTER_LINEAR)
    mixed = cv2.add(gradient, cv2.merge([noise * np.float32(t) for t in tint]))
    return np.clip(mixed, 0, 255).astype(np.uint8)


def occluder(
    size: tuple[int, int], box: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """`[H,W]` 0 to 255: how much of each pixel something before the figure covers.

    A post, a low wall, a branch across, or a ball; never most of the figure.

    Args:
        size: width and height.
        box: `[4]` x1, y1, x2, y2 of the figure, pixels.
        rng: draws it.
    """
    mask = np.zeros((size[1], size[0]), np.uint8)
    (x1, y1, x2, y2), (w, h) = box, box[2:] - box[:2]
    kind = rng.integers(4)
    if kind == 0:
        x, half = rng.uniform(x1, x2), rng.uniform(0.02, 0.06) * h
        _polygon(mask, np.array(((x - half, -9), (x + half, -9), (x + half, 9e3), (x - half, 9e3))))
    elif kind == 1:
        y = y2 - rng.uniform(0.08, 0.4) * h
        left, right = sorted(rng.uniform(x1 - w, x2 + w, 2))
        left, right = min(left, x1 + 0.4 * w), max(right, x1 + 0.6 * w)
        _polygon(mask, np.array(((left, y), (right, y), (right, 9e3), (left, 9e3))))
    elif kind == 2:
        ends = rng.uniform((x1 - w, y1), (x2 + w, y2), (2, 2))
        _polygon(mask, _bar(ends, rng.uniform(0.015, 0.04) * h))
    else:
        center, radius = rng.uniform((x1, y1 + 0.25 * h), (x2, y2)), rng.uniform(0.05, 0.16) * h
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        _polygon(mask, center + radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1))
    return mask


def _floor(picture: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator) -> None:
    """Another texture below a nearly level line."""
    width, height = size
    y = rng.uniform(0.35, 0.9) * height + rng.normal(0, 0.03, 2) * height
    mask = np.zeros((height, width), np.uint8)
    _polygon(mask, np.array(((-9, y[0]), (width + 9, y[1]), (width + 9, 9e3), (-9, 9e3))))
    picture[mask > 127] = texture(size, rng)[mask > 127]


def _thing(picture: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator) -> None:
    """A box, a bar, or a blob, in one colour; bars are as wide as limbs may be."""
    side = max(size)
    color = tuple(float(c) for c in np.clip(rng.uniform(0, 255) + rng.normal(0, 35, 3), 0, 255))
    center = rng.uniform((0, 0), size)
    kind = rng.integers(3)
    if kind == 0:
        half = rng.uniform(0.02, 0.2, 2) * side
        corners = center + np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * half
    elif kind == 1:
        other = center + rng.normal(0, 0.3, 2) * side
        corners = _bar(np.stack([center, other]), rng.uniform(0.005, 0.03) * side)
    else:
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * rng.uniform(0.01, 0.1, 2) * side
        corners = center + ring
    _polygon(picture, corners, color)


def _bar(ends: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """`[4,2]` corners of a bar between two points."""
    along = ends[1] - ends[0]
    across = half * np.array((-along[1], along[0])) / max(float(np.linalg.norm(along)), 1e-9)
    return np.stack([ends[0] + across, ends[1] + across, ends[1] - across, ends[0] - across])


def _polygon(
    picture: NDArray[np.uint8],
    corners: NDArray[np.float64],
    color: tuple[float, ...] = (255.0,),
) -> None:
    fixed = np.round(corners * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.fillConvexPoly(picture, fixed, color, lineType=cv2.LINE_AA, shift=FRACTION_BITS)


def _enlarged(
    cells: NDArray[np.float64], size: tuple[int, int], interpolation: int
) -> NDArray[np.float32]:
    return np.asarray(
        cv2.resize(cells.astype(np.float32), size, interpolation=interpolation), np.float32
    )
