"""Enough people for numbers: the two labelled ones of `tests/core`, many times over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset


def repeated(dataset: PoseDataset, times: int) -> PoseDataset:
    """Every picture `times` times, with its people; all have ids of their own."""
    pictures = tuple(
        replace(picture, id=1000 * i + picture.id)
        for i in range(times)
        for picture in dataset.pictures
    )
    return PoseDataset(
        keypoint_set=dataset.keypoint_set,
        pictures=pictures,
        picture_index=np.concatenate(
            [dataset.picture_index + i * len(dataset.pictures) for i in range(times)]
        ),
        boxes=np.tile(dataset.boxes, (times, 1)),
        keypoints=np.tile(dataset.keypoints, (times, 1, 1)),
        areas=np.tile(dataset.areas, times),
        ids=np.arange(1, times * len(dataset) + 1),
    )


@pytest.fixture(scope="session")
def repeat() -> Callable[[PoseDataset, int], PoseDataset]:
    return repeated
