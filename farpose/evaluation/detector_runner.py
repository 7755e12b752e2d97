"""Runs the detector over a keypoint dataset, whose labelled people are to be found."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.detection import (
    Detect,
    DetectionReport,
    LabelledPicture,
    evaluate_detector,
)
from farpose.evaluation.runner import LOWEST_THRESHOLD
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline


def run_detector(
    runner: asyncio.Runner,
    pipeline: PosePipeline,
    dataset: PoseDataset,
    others: dict[int, NDArray[np.float64]],
    size: int,
) -> DetectionReport:
    """Match the pipeline's detections, down to its lowest threshold, with the people of a dataset.

    Args:
        runner: runs the pipeline.
        pipeline: with a detector.
        dataset: whose boxes are to be found.
        others: by picture id, `[Q,4]` boxes on people that need not be found (`unscored_boxes`).
        size: longer side of the detector's input in pixels.

    Raises:
        DatasetError: a picture cannot be read.
        EngineError: the detector failed.
    """
    return evaluate_detector(_detect(runner, pipeline), _pictures(dataset, others), size)


def unscored_boxes(annotations: Path, dataset: PoseDataset) -> dict[int, NDArray[np.float64]]:
    """Boxes `[Q,4]` by picture id that the file has and the dataset has not.

    They are crowds, and people without a labelled joint.

    Args:
        annotations: the file that `load_dataset` has read.
        dataset: what it made of it.
    """
    scored = set(dataset.ids.tolist())
    boxes = defaultdict(list)
    for annotation in json.loads(annotations.read_text())["annotations"]:
        if annotation["id"] not in scored:
            x, y, width, height = annotation["bbox"]
            boxes[annotation["image_id"]].append([x, y, x + width, y + height])
    return {picture: np.array(found, np.float64) for picture, found in boxes.items()}


def _detect(runner: asyncio.Runner, pipeline: PosePipeline) -> Detect:
    def detect(
        image: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        options = PoseOptions(detection_threshold=LOWEST_THRESHOLD, detector_size=size)
        return runner.run(pipeline.detect(image, options))

    return detect


def _pictures(
    dataset: PoseDataset, others: dict[int, NDArray[np.float64]]
) -> Iterator[LabelledPicture]:
    for index, picture in enumerate(dataset.pictures):
        yield LabelledPicture(
            image=picture.read(),
            people=dataset.boxes[dataset.picture_index == index],
            others=others.get(picture.id, np.zeros((0, 4))),
        )
