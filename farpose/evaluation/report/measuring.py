"""One model over a dataset, clean or degraded; what it answers is told in pixels of the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.detections import DetectedBoxes
from farpose.evaluation.report.degradations import Degradation, DegradedDataset, degrade
from farpose.evaluation.runner import Boxes, PredictedPoses, predict_poses
from farpose.pipeline import PosePipeline


@dataclass(frozen=True)
class Protocol:
    """How people are cropped, the same for every model and every degradation."""

    boxes: Boxes = "truth"
    detector_size: int = 640
    """Longer side of the detector's input in pixels."""

    detections: DetectedBoxes | None = None
    """Boxes of another detector, in pixels of the source."""

    seed: int = 0
    """Of the noise."""


async def measure(
    pipeline: PosePipeline,
    dataset: PoseDataset,
    pose_model: str,
    protocol: Protocol,
    degradation: Degradation | None,
    progress: Callable[[int], None],
) -> PredictedPoses:
    """The poses a model predicts where frames are degraded before cropping.

    Args:
        pipeline: runs the models.
        dataset: people with the joints of the model.
        pose_model: its name.
        protocol: how people are cropped.
        degradation: None leaves the frames as they are.
        progress: told how many pictures are done.

    Raises:
        DatasetError: a picture cannot be read.
        EngineError: a model failed.
    """
    worse = None if degradation is None else degrade(dataset, degradation, protocol.seed)
    detections = protocol.detections
    if worse is not None and detections is not None:
        scales = np.tile(worse.scales, 2).astype(np.float32)
        boxes = tuple(b * scale for b, scale in zip(detections.boxes, scales, strict=True))
        detections = replace(detections, boxes=boxes)
    poses = await predict_poses(
        pipeline,
        dataset if worse is None else worse.dataset,
        pose_model=pose_model,
        boxes=protocol.boxes,
        detector_size=protocol.detector_size,
        detections=detections,
        progress=progress,
    )
    return poses if worse is None else _in_source(poses, worse)


def _in_source(poses: PredictedPoses, worse: DegradedDataset) -> PredictedPoses:
    pictures = worse.dataset.picture_index
    predictions = poses.predictions
    scales = worse.scales
    return PredictedPoses(
        own=_moved(poses.own, worse, pictures),
        own_variances=(poses.own_variances / scales[pictures][:, None] ** 2).astype(np.float32),
        predictions=replace(
            predictions,
            boxes=predictions.boxes / np.tile(scales[predictions.picture_index], 2),
            keypoints=_moved(predictions.keypoints, worse, predictions.picture_index),
        ),
    )


def _moved(
    keypoints: NDArray[np.floating], worse: DegradedDataset, pictures: NDArray[np.intp]
) -> NDArray[np.float32]:
    moved = np.asarray(keypoints, np.float32).copy()
    moved[..., :2] = worse.to_source(moved[..., :2], pictures)
    return moved
