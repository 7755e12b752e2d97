"""Boxes to train on: like those a detector will give the model in use."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.evaluation.boxes import EXTENT_SCALE, MATCH_IOU, with_scaled_boxes
from farpose.evaluation.dataset import PoseDataset
from farpose.geometry import box_iou
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose_training.config import SourceConfig

DETECTION = PoseOptions(detection_threshold=0.3, detector_size=320)


def detector_like_boxes(dataset: PoseDataset, source: SourceConfig) -> NDArray[np.float64]:
    """`[P,4]` boxes of the people of a dataset, picture pixels.

    A source whose labelled boxes are only the extent of the joints (`extent_boxes`) has them
    enlarged by 1.2; where the source names a detector, the detected box that fits best wins.
    """
    enlarged = with_scaled_boxes(dataset, EXTENT_SCALE) if source.extent_boxes else dataset
    boxes = enlarged.boxes.copy()
    if source.detector is not None:
        with OnnxRuntimeEngine(source.detector, threads=1) as engine:
            found = asyncio.run(_detect(dataset, PosePipeline(engine)))
        for person, picture in enumerate(dataset.picture_index):
            overlaps = box_iou(found[picture], dataset.boxes[person])[:, 0]
            if overlaps.max(initial=0) >= MATCH_IOU:
                boxes[person] = found[picture][overlaps.argmax()]
    return boxes


async def _detect(dataset: PoseDataset, pipeline: PosePipeline) -> list[NDArray[np.float32]]:
    """Per picture, the boxes `[K,4]` of the people detected in it."""
    return [
        (await pipeline.detect(picture.read(), DETECTION))[0]
        for picture in tqdm(dataset.pictures, desc="detecting people", unit="picture")
    ]
