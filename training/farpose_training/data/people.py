"""Labelled people with their pictures in memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.keypoints import KeypointSet
from farpose_training.config import SourceConfig
from farpose_training.data.boxes import detector_like_boxes
from farpose_training.data.parts import part_of


@dataclass(frozen=True)
class TrainingPeople:
    """`P` people of one or more sources, with their pictures decoded."""

    pictures: list[NDArray[np.uint8]]
    picture_index: NDArray[np.intp]
    boxes: NDArray[np.float64]
    """`[P,4]` as a detector would draw them, picture pixels."""

    keypoints: NDArray[np.float32]
    """`[P,J,3]` with visibility 0 for joints that are not labelled."""

    counts: tuple[int, ...]
    """People of each source, those that are repeated counted once."""

    def __len__(self) -> int:
        return len(self.boxes)


def load_people(sources: Sequence[SourceConfig], keypoint_set: KeypointSet) -> TrainingPeople:
    """Read every source, convert it to one keypoint set and decode its pictures.

    Raises:
        DatasetError: a source cannot be used, see `load_dataset`.
    """
    pictures: list[NDArray[np.uint8]] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    counts: list[int] = []
    for source in sources:
        dataset = part_of(load_dataset(source.annotations, source.images), source.part)
        dataset = dataset.converted(keypoint_set)
        dataset = dataset.select((dataset.keypoints[:, :, 2] > 0).any(axis=1))
        if not len(dataset):
            raise DatasetError(f"{source.annotations}: no joint of {keypoint_set.name} is labelled")
        boxes = detector_like_boxes(dataset, source)
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(lambda picture: picture.read(), dataset.pictures))
        part = (dataset.picture_index + len(pictures), boxes, dataset.keypoints)
        parts += [part] * source.repeat
        counts.append(len(dataset))
        pictures += decoded
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return TrainingPeople(pictures, *columns, counts=tuple(counts))


def identities(counts: Sequence[int], sources: Sequence[SourceConfig]) -> NDArray[np.intp]:
    """`[P]` in the order of `load_people`: equal for a person that is repeated, from 0 on."""
    first = np.cumsum([0, *counts])
    return np.concatenate(
        [
            np.tile(start + np.arange(count), source.repeat)
            for start, count, source in zip(first, counts, sources, strict=False)
        ]
    )
