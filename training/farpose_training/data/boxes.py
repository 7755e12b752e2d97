"""Boxes to train on: like those a detector will give the model in use."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.evaluation.dataset import PoseDataset
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose_training.config import SourceConfig

MATCH_IOU = 0.3
"""A detected box replaces a labelled one when they overlap at least this much."""

EXTENT_SCALE = 1.2
"""A detector's box is about this much larger than the extent of the labelled joints."""

DETECTION = PoseOptions(detection_threshold=0.3, detector_size=320)


def detector_like_boxes(dataset: PoseDataset, source: SourceConfig) -> NDArray[np.float64]:
    """`[P,4]` boxes of the people of a dataset, picture pixels.

    A source whose labelled boxes are only the extent of the joints (`extent_boxes`) has them
    enlarged by 1.2; where the source names a detector, the detected box that fits best wins.
    """
    boxes = dataset.boxes.copy()
    if source.extent_boxes:
        centers = boxes.reshape(-1, 2, 2).mean(axis=1, keepdims=True)
        boxes = ((boxes.reshape(-1, 2, 2) - centers) * EXTENT_SCALE + centers).reshape(-1, 4)
    if source.detector is not None:
        with OnnxRuntimeEngine(source.detector, threads=1) as engine:
            found = asyncio.run(_detect(dataset, PosePipeline(engine)))
        for person, picture in enumerate(dataset.picture_index):
            overlaps = _iou(found[picture], dataset.boxes[person])
            if overlaps.max(initial=0) >= MATCH_IOU:
                boxes[person] = found[picture][overlaps.argmax()]
    return boxes


async def _detect(dataset: PoseDataset, pipeline: PosePipeline) -> list[NDArray[np.float32]]:
    """Per picture, the boxes `[K,4]` of the people detected in it."""
    return [
        (await pipeline.detect(picture.read(), DETECTION))[0]
        for picture in tqdm(dataset.pictures, desc="detecting people", unit="picture")
    ]


def _iou(boxes: NDArray[np.float32], box: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(shared / (areas - shared), np.float64)
