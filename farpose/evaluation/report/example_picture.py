"""One person drawn several times side by side: the label, and what models made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from farpose.crop import crop_people
from farpose.geometry import CropGeometry
from farpose.keypoints import KeypointSet

SIDE: Final = 320
"""Pixels of a panel."""

_GAP: Final = 6
_SCALE: Final = 1.5
"""Panels show this much more than the longer side of the box."""

_LABEL: Final = (0, 158, 115)
_LIMB: Final = (86, 180, 233)
_WRONG: Final = (213, 94, 0)
_LINE: Final = (240, 228, 66)
_UNKNOWN: Final = (170, 170, 170)
_WHITE: Final = (255, 255, 255)
_BACKGROUND: Final = (24, 26, 30)
_SHIFT: Final = 4


@dataclass(frozen=True)
class Panel:
    """One drawing of the person."""

    title: str
    frame: NDArray[np.uint8]
    """`[H,W,3]` UINT8 RGB, of the size that coordinates are in."""

    keypoints: NDArray[np.floating]
    """`[J,3]` in pixels of the frame; those of the label have a visibility."""

    is_label: bool = False
    wrong: NDArray[np.bool_] | None = None
    """`[J]` of a prediction: joints to mark, with a line to where the label has them."""


def draw_example(
    panels: Sequence[Panel],
    box: NDArray[np.floating],
    label: NDArray[np.floating],
    joints: KeypointSet,
) -> NDArray[np.uint8]:
    """The panels of one person as one picture `[H,W,3]` UINT8 RGB.

    Labels are green. Predictions are blue where correct, grey where there is no label to compare
    with, and orange where wrong, with a yellow line to the label. The more panels, the larger are
    letters and lines: the whole picture will be shown as wide as one of fewer.

    Args:
        panels: from left to right.
        box: `[4]` x1, y1, x2, y2 of the person in frame pixels; panels show its surroundings.
        label: `[J,3]` with visibility.
        joints: the keypoint set of all.
    """
    geometry = CropGeometry.from_boxes(np.asarray(box)[None], _SCALE)
    zoom = len(panels) / 2
    strip = round(26 * zoom)
    width = len(panels) * (SIDE + _GAP) - _GAP
    canvas = np.full((SIDE + strip, width, 3), _BACKGROUND, np.uint8)
    for index, panel in enumerate(panels):
        picture = crop_people(panel.frame, geometry, SIDE)[0].copy()
        _draw(picture, panel, geometry, label, joints, zoom)
        left = index * (SIDE + _GAP)
        canvas[strip:, left : left + SIDE] = picture
    drawing = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(drawing), _font(round(16 * zoom))
    for index, panel in enumerate(panels):
        title = panel.title
        while len(title) > 1 and pen.textlength(title, font) > SIDE - 12:
            title = title[:-2] + "…"
        place = index * (SIDE + _GAP) + 6, strip / 2
        pen.text(place, title, font=font, fill=_WHITE, anchor="lm")
    return np.asarray(drawing, np.uint8)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The one that the figures have: it has Greek letters."""
    import matplotlib as mpl

    return ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _draw(
    picture: NDArray[np.uint8],
    panel: Panel,
    geometry: CropGeometry,
    label: NDArray[np.floating],
    joints: KeypointSet,
    zoom: float,
) -> None:
    if not np.isfinite(panel.keypoints).all():
        return
    points = geometry.to_crop(panel.keypoints[None, :, :2], SIDE)[0]
    labelled = label[:, 2] > 0
    shown = labelled if panel.is_label else np.ones(len(points), bool)
    color = _LABEL if panel.is_label else _LIMB
    # What can be judged lies above what cannot.
    for a, b in sorted(joints.edge_indices, key=lambda edge: bool(labelled[list(edge)].all())):
        if shown[a] and shown[b]:
            known = labelled[a] and labelled[b]
            thickness = round(2 * zoom) if known else 1
            _line(picture, points[a], points[b], color if known else _UNKNOWN, thickness)
    wrong = np.zeros(len(points), bool) if panel.wrong is None else panel.wrong
    targets = geometry.to_crop(label[None, :, :2], SIDE)[0]
    for joint in np.flatnonzero(wrong):
        _line(picture, points[joint], targets[joint], _LINE, round(zoom))
        _dot(picture, targets[joint], 2.2 * zoom, _LABEL)
    for joint in sorted(np.flatnonzero(shown), key=lambda joint: bool(labelled[joint])):
        if not labelled[joint]:
            _dot(picture, points[joint], 2 * zoom, _UNKNOWN)
            continue
        _dot(picture, points[joint], 4.2 * zoom, _WHITE)
        _dot(picture, points[joint], 3.2 * zoom, _WRONG if wrong[joint] else color)


def _dot(
    picture: NDArray[np.uint8],
    center: NDArray[np.float64],
    radius: float,
    color: tuple[int, int, int],
) -> None:
    size = round(radius * 2**_SHIFT)
    cv2.circle(picture, _fixed(center), size, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _line(
    picture: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    cv2.line(picture, _fixed(start), _fixed(end), color, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    # Far outside is as invisible as farther outside, and does not overflow.
    x, y = np.clip(point, -20 * SIDE, 20 * SIDE)
    return round(float(x) * 2**_SHIFT), round(float(y) * 2**_SHIFT)
