"""Pseudo-labels: what the start weights find at high resolution, for a low-resolution student.

The teacher looks at every training picture at several sizes and mirrored; its boxes are merged.
A box counts for as much as the teacher is sure of it: were doubtful boxes left out of the loss,
the student's scores on them would drift up. Human truth, where there is any, always stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from farpose.evaluation.detection import Detect
from farpose.geometry import box_iou
from farpose_training.detection.sources import SourcePicture

MERGE_IOU = 0.6
"""Boxes of different views that overlap more are the same person."""

PART, PART_SCORE = 0.8, 0.35
"""A box below that score with more than this share inside a surer person is a part of them."""


@dataclass(frozen=True, slots=True)
class PictureLabels:
    """People of one picture; boxes are xyxy in picture pixels.

    Attributes:
        name: as in `SourcePicture`.
        people: boxes of people, human truth first.
        scores: 1 for the truth, else the teacher's merged score.
    """

    name: str
    people: list[list[float]]
    scores: list[float]


def label_pictures(
    pictures: Iterable[SourcePicture],
    detect: Detect,
    *,
    sizes: dict[str, Sequence[int]],
    floor: float,
) -> list[PictureLabels]:
    """Label every picture with `detect`, at the sizes of its source, as seen and mirrored.

    Merged boxes with a score below `floor` are dropped.
    """
    labels = []
    for picture in tqdm(pictures, desc="teacher labels", unit="picture"):
        views = []
        for size in sizes[picture.source]:
            views.append(detect(picture.image, size))
            boxes, scores = detect(np.ascontiguousarray(picture.image[:, ::-1]), size)
            mirrored = boxes.copy()
            mirrored[:, [0, 2]] = picture.image.shape[1] - boxes[:, [2, 0]]
            views.append((mirrored, scores))
        boxes, scores = merge_views(views)
        labels.append(decide(picture, boxes, scores, floor))
    return labels


def merge_views(
    views: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One box per person from the boxes `[K,4]` and scores `[K]` of several views.

    The best box of a group leads it; the merged box is the score-weighted mean of each view's
    best box in the group, the merged score the mean over all views, 0 where a view has none.
    """
    boxes = np.concatenate([view[0] for view in views]).astype(np.float32)
    scores = np.concatenate([view[1] for view in views]).astype(np.float32)
    origin = np.concatenate([np.full(len(view[1]), index) for index, view in enumerate(views)])
    solid = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    boxes, scores, origin = boxes[solid], scores[solid], origin[solid]
    overlap = box_iou(boxes, boxes)
    free = np.ones(len(scores), dtype=bool)
    merged_boxes, merged_scores = [], []
    for leader in np.argsort(-scores, kind="stable"):
        if not free[leader]:
            continue
        group = np.flatnonzero(free & (overlap[leader] >= MERGE_IOU))
        group = group[np.argsort(-scores[group], kind="stable")]
        free[group] = False
        best = group[np.unique(origin[group], return_index=True)[1]]
        merged_boxes.append(np.average(boxes[best], axis=0, weights=scores[best]))
        merged_scores.append(scores[best].sum() / len(views))
    return (
        np.array(merged_boxes, dtype=np.float32).reshape(-1, 4),
        np.array(merged_scores, dtype=np.float32),
    )


def decide(
    picture: SourcePicture, boxes: NDArray[np.float32], scores: NDArray[np.float32], floor: float
) -> PictureLabels:
    """Labels of one picture from the teacher's merged boxes `[K,4]` and scores `[K]`.

    Boxes on people of the truth are dropped, and doubtful ones that lie inside a surer person.
    """
    new = (scores >= floor) & (box_iou(boxes, picture.people).max(axis=1, initial=0.0) < 0.5)
    sure = np.concatenate([picture.people, boxes[new & (scores >= PART_SCORE)]])
    new &= (scores >= PART_SCORE) | (covered(boxes, sure) < PART)
    return PictureLabels(
        name=picture.name,
        people=np.round(np.concatenate([picture.people, boxes[new]]), 1).tolist(),
        scores=[1.0] * len(picture.people) + np.round(scores[new], 3).tolist(),
    )


def covered(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[K]`: largest share of each box `[K,4]` that lies in one of `others` `[P,4]`."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1).max(axis=1, initial=0.0)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(shared / np.maximum(area, 1e-6), dtype=np.float32)


def write_labels(labels: Sequence[PictureLabels], path: Path) -> None:
    """Cache labels as JSON, one picture a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    lines = ",\n".join(json.dumps(asdict(label)) for label in labels)
    unfinished.write_text(f"[\n{lines}\n]\n")
    unfinished.replace(path)


def read_labels(path: Path) -> list[PictureLabels]:
    """Read what `write_labels` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return [PictureLabels(**label) for label in json.loads(path.read_text())]
