"""What detecting less saves on a clip, and what it costs: beside detecting on every picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.geometry import box_iou
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PosePipeline, PoseResult
from farpose.tracking import CameraSession

SAME_PERSON: Final = 0.5
"""IoU from which two boxes are one person's."""

NEAR: Final = 0.05
"""Joints within this share of the person's height are in the same place."""

SURE: Final = 0.1
"""Joints that score less are not compared."""


class ClipError(ValueError):
    """The file is no clip."""


@dataclass(frozen=True)
class Row:
    """A clip with one setting."""

    detect_every: int
    smoothing: bool
    detector_runs: float
    """Share of the pictures that the detector ran on."""

    frame_ms: float
    """Mean milliseconds per picture, decoding included."""

    people: float
    """Share of the people of every-picture detection who are found, in their place."""

    extra: float
    """People who are not among those, per such person."""

    joints: float
    """Share of their joints in the same place."""

    ids: int
    """Different people, going by their ids."""

    restlessness: float
    """Mean second difference of the joints of people with an id, in percent of their height."""


def read_clip(path: Path, most: int | None) -> tuple[list[bytes], float]:
    """The pictures of a clip as JPEG, and how many of them are a second.

    Raises:
        ClipError: it cannot be read.
    """
    clip, pictures = cv2.VideoCapture(str(path)), list[bytes]()
    while most is None or len(pictures) < most:
        read, frame = clip.read()
        if not read:
            break
        pictures.append(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    if len(pictures) < 3:
        raise ClipError(f"{path}: {len(pictures)} pictures can be read: give a clip of at least 3")
    return pictures, clip.get(cv2.CAP_PROP_FPS) or 25.0


def measure(
    pipeline: PosePipeline, pictures: list[bytes], rate: float, settings: list[tuple[int, bool]]
) -> list[Row]:
    """A row for each `(detect_every, smoothing)`.

    Args:
        pipeline: answers the pictures.
        pictures: of a clip, encoded.
        rate: pictures per second.
        settings: to compare.
    """
    reference, *_ = _watch(pipeline, pictures, rate, 1, smoothing=False)
    rows = []
    for detect_every, smoothing in settings:
        results, runs, seconds = _watch(pipeline, pictures, rate, detect_every, smoothing=smoothing)
        there, extra, near = _agreement(reference, results)
        rows.append(
            Row(
                detect_every,
                smoothing,
                runs / len(pictures),
                seconds / len(pictures) * 1e3,
                there,
                extra,
                near,
                len({i for r in results for i in _ids(r.people) if i >= 0}),
                100 * _restlessness(results),
            )
        )
    return rows


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    names = [field.name.replace("_", " ") for field in fields(Row)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += [
        f"| {row.detect_every} | {'yes' if row.smoothing else 'no'} | {row.detector_runs:.0%} "
        f"| {row.frame_ms:.1f} | {row.people:.1%} | {row.extra:.1%} | {row.joints:.1%} "
        f"| {row.ids} | {row.restlessness:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _watch(
    pipeline: PosePipeline,
    pictures: list[bytes],
    rate: float,
    detect_every: int,
    *,
    smoothing: bool,
) -> tuple[list[PoseResult], int, float]:
    runs = 0

    async def find(picture: bytes, options: PoseOptions) -> PoseResult:
        nonlocal runs
        runs += options.boxes is None
        return await pipeline(picture, options)

    async def watch() -> list[PoseResult]:
        session, options = (
            CameraSession(detect_every=detect_every, smoothing=smoothing),
            PoseOptions(),
        )
        return [
            await session.find(picture, options, i / rate, find)
            for i, picture in enumerate(pictures)
        ]

    started = time.perf_counter()
    results = asyncio.run(watch())
    return results, runs, time.perf_counter() - started


def _agreement(
    reference: list[PoseResult], results: list[PoseResult]
) -> tuple[float, float, float]:
    expected = found = extra = 0
    near: list[NDArray[np.bool_]] = []
    for truth, other in ((a.people, b.people) for a, b in zip(reference, results, strict=True)):
        overlap = box_iou(truth.boxes, other.boxes)
        own = overlap.argmax(axis=1) if len(other) else np.zeros(len(truth), int)
        there = overlap.max(axis=1, initial=0.0) > SAME_PERSON
        expected, found = expected + len(truth), found + int(there.sum())
        extra += int((overlap.max(axis=0, initial=0.0) <= SAME_PERSON).sum())
        for i in np.flatnonzero(there):
            distance = truth.keypoints[i, :, :2] - other.keypoints[own[i], :, :2]
            height = truth.boxes[i, 3] - truth.boxes[i, 1]
            sure = truth.keypoints[i, :, 2] >= SURE
            near.append(np.linalg.norm(distance, axis=1)[sure] <= NEAR * height)
    return found / max(expected, 1), extra / max(expected, 1), _mean(near)


def _restlessness(results: list[PoseResult]) -> float:
    bends = []
    for people in zip(*(map(_by_id, results[i:]) for i in range(3)), strict=False):
        for identity in set.intersection(*map(set, people)):
            (a, _), (b, height), (c, _) = (person[identity] for person in people)
            sure = np.minimum(np.minimum(a[:, 2], b[:, 2]), c[:, 2]) >= SURE
            bends.append(np.linalg.norm(a - 2 * b + c, axis=1)[sure] / height)
    return _mean(bends)


def _by_id(result: PoseResult) -> dict[int, tuple[NDArray[np.float32], float]]:
    people = result.people
    heights = people.boxes[:, 3] - people.boxes[:, 1]
    return {
        identity: (keypoints, height)
        for identity, keypoints, height in zip(_ids(people), people.keypoints, heights, strict=True)
        if identity >= 0
    }


def _ids(people: People) -> list[int]:
    return [] if people.track_ids is None else people.track_ids.tolist()


def _mean(parts: Sequence[NDArray[Any]]) -> float:
    return float(np.concatenate(parts).mean()) if parts else float("nan")
