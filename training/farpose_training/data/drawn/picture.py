"""One drawn person in a picture, and where all joints are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.keypoints import COCO17
from farpose_training.data.drawn.background import background, occluder, texture
from farpose_training.data.drawn.clothes import random_clothes
from farpose_training.data.drawn.drawing import Layer, Placement, draw, extent
from farpose_training.data.drawn.poses import random_body
from farpose_training.data.drawn.shapes import Group, dressed, seen
from farpose_training.data.drawn.skeleton import Body, about_x, about_y, about_z

FRONT: Final = 0.5
BACK: Final = 0.2
"""Shares of people seen from about there; the others are seen from anywhere."""

OCCLUDED: Final = 0.3
"""Share of people with something before them."""

LARGE: Final = 96
"""Figures of this height and more, pixels, are smooth enough with less supersampling."""


@dataclass(frozen=True)
class DrawnPerson:
    """A picture of one person."""

    picture: NDArray[np.uint8]
    """`[H,W,3]` RGB."""

    keypoints: NDArray[np.float64]
    """`[17,3]` COCO joints: x, y (a pixel's middle is its index), 2 if seen and 1 if hidden."""

    box: NDArray[np.float64]
    """`[4]` x1, y1, x2, y2: the edges of what is seen of the figure."""

    area: float
    """Pixels of the figure that are seen."""


def draw_person(height: float, rng: np.random.Generator) -> DrawnPerson:
    """Draw someone somewhere.

    Args:
        height: from the figure's highest to its lowest point, pixels.
        rng: draws pose, clothes, view, background and all else.
    """
    body, view = random_body(rng), _random_view(rng)
    groups = dressed(body, random_clothes(rng), view)
    low, high = extent(groups)
    scale = height / (high[1] - low[1])
    margins = np.ceil(rng.uniform(0.06, 0.45, (2, 2)) * height) + 1
    width, tall = np.ceil(scale * (high - low) + margins.sum(axis=0)).astype(int)
    size = (int(width), int(tall))
    corner = margins[0] + rng.uniform(-0.5, 0.5, 2)
    placement = Placement(scale, corner - scale * np.array((low[0], -high[1])))
    turn = rng.uniform(0.1 * np.pi, 0.9 * np.pi)
    light = np.array((np.cos(turn), np.sin(turn)))
    layer = draw(groups, placement, size, light, supersampling=2 if height >= LARGE else 4)

    scene = background(size, rng).astype(np.float32)
    exposure = rng.uniform(0.7, 1.15)
    scene += exposure * layer.colors - layer.coverage[..., None] * scene
    hidden = np.zeros(layer.coverage.shape, np.float32)
    if rng.random() < OCCLUDED:
        silhouette = np.concatenate([corner, corner + scale * (high - low)])
        hidden = occluder(size, silhouette, rng).astype(np.float32) / 255
        scene += hidden[..., None] * (texture(size, rng) - scene)
    keypoints = _keypoints(body, view, placement, groups, layer, hidden)
    box, area = box_and_area(layer.coverage * (1 - hidden))
    picture = np.clip(np.round(scene), 0, 255).astype(np.uint8)
    return DrawnPerson(picture, keypoints, box, area)


def _random_view(rng: np.random.Generator) -> NDArray[np.float64]:
    """From any side, in photographs mostly the front, and from a little above."""
    above = np.clip(rng.normal(8, 9), -10, 35)
    kind = rng.random()
    if kind < FRONT:
        turn = rng.normal(0, 40)
    elif kind < FRONT + BACK:
        turn = rng.normal(180, 40)
    else:
        turn = rng.uniform(-180, 180)
    return about_z(float(rng.normal(0, 3))) @ about_x(float(above)) @ about_y(float(turn))


def _keypoints(
    body: Body,
    view: NDArray[np.float64],
    placement: Placement,
    groups: list[Group],
    layer: Layer,
    hidden: NDArray[np.float32],
) -> NDArray[np.float64]:
    joints = np.zeros((len(COCO17), 3))
    for row, name in zip(joints, COCO17.joints, strict=True):
        row[:2] = placement.pixels(view @ body.points[name])
        top = layer.top(row[:2])
        x, y = np.clip(np.round(row[:2]).astype(int), 0, np.array(hidden.shape[::-1]) - 1)
        visible = (
            top is not None and hidden[y, x] < 0.5 and seen(name, groups[top].name, body, view)
        )
        row[2] = 2 if visible else 1
    return joints


def box_and_area(coverage: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """x1, y1, x2, y2 (continuous edges) and number of the pixels that are at least half covered."""
    mask = coverage >= 0.5
    if not mask.any():
        mask = coverage >= coverage.max()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # Edges are continuous: the first pixel reaches from 0 to 1.
    box = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), np.float64)
    return box, float(mask.sum())
