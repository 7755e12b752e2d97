"""The shrink protocol: the same people, ever smaller.

Few people in the usual sets are a few dozen pixels tall. So each picture is area-resampled until
the person is `h` pixels tall, as if the camera stood further off, and the person is cropped from
that. Every `h` scores all people who are at least that tall to begin with: nothing is enlarged.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.heights import Accuracy, accuracy
from farpose.evaluation.ignored import Ignored
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline

SHRINK_HEIGHTS: Final = (16, 24, 32, 48, 64, 96, 128)
"""Person heights in pixels."""


class Shrunk(NamedTuple):
    """A smaller picture."""

    image: NDArray[np.uint8]
    """`[H,W,3]` UINT8."""

    scale: tuple[float, float]
    """Its pixels per pixel of the source, (x, y): whole numbers of pixels make them differ."""


@dataclass(frozen=True)
class ShrinkColumn:
    """Scores at one height, in pixels of the shrunk pictures."""

    height: int
    accuracy: Accuracy
    left_out: int
    """People who are shorter in the source."""


def shrink(image: NDArray[np.uint8], factor: float) -> Shrunk:
    """Area-resample a picture `[H,W,3]`.

    Raises:
        ValueError: the factor is above 1, which would enlarge it.
    """
    if not 0 < factor <= 1:
        raise ValueError(f"a picture is shrunk by a factor in (0, 1], not {factor}")
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Shrunk(small, (size[0] / width, size[1] / height))


def shrunk_truth(dataset: PoseDataset, scales: NDArray[np.float64]) -> PoseDataset:
    """The same people in pixels of their own shrunk pictures, which show nobody else.

    Args:
        dataset: `P` people.
        scales: `[P,2]` x and y. Box edges are continuous and scale as they are; joints are
            pixel-centre indices: index + 1/2 scales.
    """
    keypoints = dataset.keypoints.copy()
    keypoints[..., :2] = (keypoints[..., :2] + 0.5) * scales[:, None] - 0.5
    heads = dataset.head_sizes
    return replace(
        dataset,
        boxes=dataset.boxes * np.tile(scales, 2),
        keypoints=keypoints,
        areas=dataset.areas * scales.prod(axis=1),
        head_sizes=None if heads is None else heads * np.sqrt(scales.prod(axis=1)),
        ignored=Ignored.empty(),
    )


async def shrink_table(
    pipeline: PosePipeline,
    dataset: PoseDataset,
    pose_model: str = "auto",
    heights: tuple[int, ...] = SHRINK_HEIGHTS,
) -> tuple[ShrinkColumn, ...]:
    """Scores of a pose model at every height, cropping by the labelled boxes.

    Args:
        pipeline: runs the model.
        dataset: people with the model's joints.
        pose_model: its name.
        heights: person heights in pixels.
    """
    shape = (len(heights), len(dataset))
    keypoints = np.full((*shape, len(dataset.keypoint_set), 3), np.inf, np.float32)
    scales = np.ones((*shape, 2))

    async def predict(image: NDArray[np.uint8], row: int, person: int) -> None:
        factor = heights[row] / dataset.heights[person]
        small = await asyncio.to_thread(shrink, image, factor)
        box = tuple(dataset.boxes[person] * np.tile(small.scale, 2))
        options = PoseOptions(boxes=(box,), pose_model=pose_model)
        result = await pipeline(small.image, options)
        keypoints[row, person] = result.people.keypoints[0]
        scales[row, person] = small.scale

    for index, picture in enumerate(dataset.pictures):
        tasks = [
            (int(row), int(person))
            for person in np.flatnonzero(dataset.picture_index == index)
            for row in np.flatnonzero(np.asarray(heights) <= dataset.heights[person])
        ]
        if tasks:
            image = await asyncio.to_thread(picture.read)
            await asyncio.gather(*(predict(image, row, person) for row, person in tasks))

    columns = []
    for row, height in enumerate(heights):
        people = dataset.heights >= height
        truth = shrunk_truth(dataset.select(people), scales[row, people])
        scores = accuracy(keypoints[row, people], truth)
        columns.append(ShrinkColumn(height, scores, int((~people).sum())))
    return tuple(columns)
