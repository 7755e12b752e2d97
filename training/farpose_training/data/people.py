"""Labelled people with their pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError, Picture
from farpose.keypoints import KeypointSet
from farpose_training.config import Source
from farpose_training.data.boxes import detector_like_boxes
from farpose_training.data.drawn.source import materialised
from farpose_training.data.pictures import DecodedPictures
from farpose_training.data.sources import load_source

GIGABYTE = 1e9


@dataclass(frozen=True)
class TrainingPeople:
    """`P` people of one or more sources, with their pictures."""

    pictures: DecodedPictures
    """Decoded in memory, or read when asked for."""

    picture_index: NDArray[np.intp]
    boxes: NDArray[np.float64]
    """`[P,4]` as a detector would draw them, picture pixels."""

    keypoints: NDArray[np.float32]
    """`[P,J,3]` with visibility 0 for joints that are not labelled."""

    counts: tuple[int, ...]
    """People of each source, those that are repeated counted once."""

    def __len__(self) -> int:
        return len(self.boxes)


def load_people(
    sources: Sequence[Source], keypoint_set: KeypointSet, memory_gb: float = math.inf
) -> TrainingPeople:
    """Read every source, convert it to one keypoint set and decode its pictures.

    Args:
        sources: what to read.
        keypoint_set: the joints of all people.
        memory_gb: decoded pictures beyond these gigabytes are not kept but read when asked for.

    Raises:
        DatasetError: a source cannot be used, see `load_source`.
    """
    pictures: list[Picture] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    counts: list[int] = []
    for source in map(materialised, sources):
        dataset = load_source(source).converted(keypoint_set)
        dataset = dataset.select((dataset.keypoints[:, :, 2] > 0).any(axis=1))
        if not len(dataset):
            raise DatasetError(
                f"{source.annotations}: no joint of {keypoint_set.name}, the run's `keypoint_set`, "
                "is labelled"
            )
        boxes = detector_like_boxes(dataset, source)
        part = (dataset.picture_index + len(pictures), boxes, dataset.keypoints)
        parts += [part] * source.repeat
        counts.append(len(dataset))
        pictures += dataset.pictures
    picture_index, boxes, keypoints = (np.concatenate(c) for c in zip(*parts, strict=True))
    used = np.unique(picture_index).tolist()
    decoded = DecodedPictures(pictures, used, GIGABYTE * memory_gb)
    return TrainingPeople(decoded, picture_index, boxes, keypoints, tuple(counts))


def identities(counts: Sequence[int], sources: Sequence[Source]) -> NDArray[np.intp]:
    """`[P]` in the order of `load_people`: equal for a person that is repeated, from 0 on."""
    first = np.cumsum([0, *counts])
    return np.concatenate(
        [
            np.tile(start + np.arange(count), source.repeat)
            for start, count, source in zip(first, counts, sources, strict=False)
        ]
    )
