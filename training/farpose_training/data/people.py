"""Labelled people with their pictures in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError, PoseDataset, load_dataset
from farpose.keypoints import KeypointSet
from farpose_training.config import SourceConfig

MATCH_IOU = 0.3
"""A detected box replaces a labelled one when they overlap at least this much."""

EXTENT_SCALE = 1.2
"""A detector's box is about this much larger than the extent of the labelled joints."""


@dataclass(frozen=True)
class TrainingPeople:
    """`P` people of one or more sources, with their pictures decoded."""

    pictures: list[NDArray[np.uint8]]
    picture_index: NDArray[np.intp]
    boxes: NDArray[np.float64]
    """`[P,4]` as a detector would draw them, picture pixels."""

    keypoints: NDArray[np.float32]
    """`[P,J,3]` with visibility 0 for joints that are not labelled."""

    def __len__(self) -> int:
        return len(self.boxes)


def load_people(sources: Sequence[SourceConfig], keypoint_set: KeypointSet) -> TrainingPeople:
    """Read every source, convert it to one keypoint set and decode its pictures.

    Raises:
        DatasetError: a source cannot be used, see `load_dataset`.
    """
    pictures: list[NDArray[np.uint8]] = []
    parts: list[tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float32]]] = []
    for source in sources:
        dataset = load_dataset(source.annotations, source.images).converted(keypoint_set)
        dataset = dataset.select((dataset.keypoints[:, :, 2] > 0).any(axis=1))
        if not len(dataset):
            raise DatasetError(f"{source.annotations}: no joint of {keypoint_set.name} is labelled")
        boxes = detector_like_boxes(dataset, source)
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(lambda picture: picture.read(), dataset.pictures))
        part = (dataset.picture_index + len(pictures), boxes, dataset.keypoints)
        parts += [part] * source.repeat
        pictures += decoded
    return TrainingPeople(
        pictures, *(np.concatenate(columns) for columns in zip(*parts, strict=True))
    )


def detector_like_boxes(dataset: PoseDataset, source: SourceConfig) -> NDArray[np.float64]:
    """`[P,4]` the boxes to train on: the best detected one where it fits, else the labelled one.

    A source whose labelled boxes are only the extent of the joints (`extent_boxes`) has them
    enlarged by 1.2 where no detected box fits.
    """
    boxes = dataset.boxes.copy()
    if source.extent_boxes:
        centers = boxes.reshape(-1, 2, 2).mean(axis=1, keepdims=True)
        boxes = ((boxes.reshape(-1, 2, 2) - centers) * EXTENT_SCALE + centers).reshape(-1, 4)
    if source.detections is None:
        return boxes
    detections = _read_detections(source.detections)
    for person, (picture, box) in enumerate(zip(dataset.picture_index, dataset.boxes, strict=True)):
        found = detections.get(dataset.pictures[picture].path.name)
        if found is not None and len(found):
            overlaps = _iou(found, box)
            if overlaps.max() >= MATCH_IOU:
                boxes[person] = found[overlaps.argmax()]
    return boxes


def _read_detections(path: Path) -> dict[str, NDArray[np.float64]]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: no such file of detected boxes; make it with `farpose predict-boxes`"
        ) from None
    return {name: np.asarray(boxes, np.float64).reshape(-1, 4) for name, boxes in content.items()}


def _iou(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return shared / (areas - shared)
