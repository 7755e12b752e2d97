"""How a result looks in a notebook: a small picture with skeletons, and a table."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.drawing import DRAW_THRESHOLD, PALETTE, draw_anonymous, draw_people
from farpose.people import People
from farpose.result import PoseResult

LONGEST_SIDE: Final = 800
"""Pixels of the picture that is shown; larger ones are shown smaller."""

MOST_BYTES: Final = 300_000
"""Of the picture that is shown: notebooks keep it in their file."""

MOST_ROWS: Final = 20
"""People in the table."""

_QUALITIES: Final = (85, 70, 50)
"""Of JPEG, one after the other until the picture is small enough."""

_CELL: Final = "text-align:right;padding:2px 10px;white-space:nowrap"


@dataclass(frozen=True)
class ShownPicture:
    """A JPEG picture."""

    data: bytes
    width: int
    height: int


def result_jpeg(result: PoseResult) -> ShownPicture:
    """A result's picture with skeletons, at most `MOST_BYTES` long.

    If the picture was not kept, the skeletons are drawn on a plain background.
    """
    side = min(LONGEST_SIDE, max(result.width, result.height))
    while True:
        drawn = _drawn(result, side)
        for quality in _QUALITIES:
            bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if encoded.size <= MOST_BYTES:
                return ShownPicture(encoded.tobytes(), drawn.shape[1], drawn.shape[0])
        side = side * 3 // 4


def result_html(result: PoseResult) -> str:
    """A result as HTML that needs nothing else: no script, no style sheet, no other file."""
    shown = result_jpeg(result)
    title = html.escape(result.describe())
    took = f", {result.timing_ms['total']:.0f} ms" if "total" in result.timing_ms else ""
    address = f"data:image/jpeg;base64,{base64.b64encode(shown.data).decode()}"
    return (
        f'<figure style="margin:0"><figcaption>{title}{took}</figcaption>'
        f'<img src="{address}" width="{shown.width}" height="{shown.height}" alt="{title}" '
        f'style="max-width:100%;height:auto">{_table(result.people)}</figure>'
    )


def _drawn(result: PoseResult, side: int) -> NDArray[np.uint8]:
    """The picture at a size where its longer side has so many pixels, with skeletons."""
    factor = side / max(result.width, result.height)
    width, height = (max(1, round(length * factor)) for length in (result.width, result.height))
    people = _resized(result.people, width / result.width, height / result.height)
    if result.picture is None:
        return draw_anonymous(width, height, people)
    small = cv2.resize(result.image, (width, height), interpolation=cv2.INTER_AREA)
    return draw_people(np.asarray(small, np.uint8), people)


def _resized(people: People, across: float, down: float) -> People:
    """People in a picture that was resized by these factors."""
    factors = np.array([across, down], np.float32)
    keypoints = people.keypoints.copy()
    keypoints[..., :2] = (keypoints[..., :2] + 0.5) * factors - 0.5
    return replace(people, boxes=people.boxes * np.tile(factors, 2), keypoints=keypoints)


def _table(people: People) -> str:
    if not len(people):
        return ""
    who = "person" if people.track_ids is None else "id"
    rows = [_row("th", "", [who, "score", "height", "joints", "box", "model"])]
    rows += [_row("td", _mark(i), cells) for i, cells in enumerate(_cells(people[:MOST_ROWS]))]
    table = f'<table style="border-collapse:collapse">{"".join(rows)}</table>'
    more = len(people) - MOST_ROWS
    left_out = f"<p>and {more} more</p>" if more > 0 else ""
    return f'<div style="overflow-x:auto">{table}{left_out}</div>'


def _cells(people: People) -> Iterator[list[str]]:
    for i, (box, score) in enumerate(zip(people.boxes, people.scores, strict=True)):
        number = i + 1 if people.track_ids is None else int(people.track_ids[i])
        sure = int((people.keypoints[i, :, 2] >= DRAW_THRESHOLD).sum())
        yield [
            "new" if number < 0 else str(number),
            f"{score:.2f}",
            f"{box[3] - box[1]:.0f} px",
            f"{sure}/{len(people.keypoint_set)}",
            ", ".join(f"{edge:.0f}" for edge in box),
            people.models[i],
        ]


def _row(tag: str, mark: str, cells: Sequence[str]) -> str:
    inner = "".join(f'<{tag} style="{_CELL}">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr><{tag}>{mark}</{tag}>{inner}</tr>"


def _mark(i: int) -> str:
    """A square in the colour of the skeleton of person `i`."""
    return f'<span style="color:rgb{PALETTE[i % len(PALETTE)]}">&#9632;</span>'
