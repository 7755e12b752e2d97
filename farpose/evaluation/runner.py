"""Runs a pose model over a dataset, through the same pipeline as the service, and scores it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.boxes import match_people
from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.detections import DetectedBoxes
from farpose.evaluation.heights import Accuracy, HeightBin, accuracy, by_height
from farpose.evaluation.oks import (
    AveragePrecision,
    Predictions,
    average_precision,
    without_duplicates,
)
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PosePipeline

Boxes = Literal["truth", "detected"]

LOWEST_THRESHOLD: Final = 0.05
"""Detections down to the detector's own floor count for the precision."""

_IN_FLIGHT: Final = 4
"""Pictures at a time: enough for the engine to fill batches, few enough to hold in memory."""


@dataclass(frozen=True)
class PredictedPoses:
    """What a model made of the people of a dataset."""

    own: NDArray[np.float32]
    """`[P,J,3]` the prediction for each labelled person; infinite where there is none."""

    own_variances: NDArray[np.float32]
    """`[P,J,2]` its variances, picture pixels squared; infinite where there is none."""

    predictions: Predictions
    """All that the precision counts."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """`[P]` who had a box: all of them with labelled boxes."""
        return np.isfinite(self.own[:, 0, 0])


@dataclass(frozen=True)
class PoseReport:
    """How well a model's poses agree with the labels."""

    precision: AveragePrecision
    accuracy: Accuracy
    heights: tuple[HeightBin, ...]
    found: int
    """People who had a box: all of them with labelled boxes."""

    own: NDArray[np.float32]
    """`[P,J,3]` the prediction for each labelled person; infinite where there is none."""

    own_variances: NDArray[np.float32]
    """`[P,J,2]` its variances, picture pixels squared; infinite where there is none."""

    predictions: Predictions
    """All that the precision counts."""

    @classmethod
    def of(cls, poses: PredictedPoses, dataset: PoseDataset) -> Self:
        """Score the poses of a dataset's people."""
        return cls(
            precision=average_precision(dataset, poses.predictions),
            accuracy=accuracy(poses.own, dataset),
            heights=by_height(poses.own, dataset),
            found=int(poses.found.sum()),
            own=poses.own,
            own_variances=poses.own_variances,
            predictions=poses.predictions,
        )


async def evaluate_pose(
    pipeline: PosePipeline,
    dataset: PoseDataset,
    *,
    pose_model: str = "auto",
    boxes: Boxes = "truth",
    detector_size: int = 640,
    detections: DetectedBoxes | None = None,
    progress: Callable[[int], None] = lambda pictures: None,
) -> PoseReport:
    """Score a pose model on labelled people: `predict_poses`, whose arguments these are."""
    poses = await predict_poses(
        pipeline,
        dataset,
        pose_model=pose_model,
        boxes=boxes,
        detector_size=detector_size,
        detections=detections,
        progress=progress,
    )
    return PoseReport.of(poses, dataset)


async def predict_poses(
    pipeline: PosePipeline,
    dataset: PoseDataset,
    *,
    pose_model: str = "auto",
    boxes: Boxes = "truth",
    detector_size: int = 640,
    detections: DetectedBoxes | None = None,
    progress: Callable[[int], None] = lambda pictures: None,
) -> PredictedPoses:
    """Run a pose model on labelled people.

    With `truth`, each person is cropped by the labelled box. With `detected`, the detector looks
    for people: whatever it finds counts for the precision, after OKS non-maximum suppression,
    while PCK and mean OKS are of the person's own detection among those of the service's default
    threshold; people without one count as wrong in all joints.

    Args:
        pipeline: runs the models.
        dataset: people with the joints of the model (`PoseDataset.converted`).
        pose_model: the model's name.
        boxes: which boxes to crop by.
        detector_size: longer side of the detector's input in pixels.
        detections: with `detected`, the boxes to use; the detector is then not run.
        progress: told how many pictures are done.

    Raises:
        ValueError: the dataset has other joints than the model.
        DatasetError: a picture cannot be read.
        EngineError: a model failed.
    """
    joints = (await pipeline.pose_model(pose_model)).keypoint_set
    if joints != dataset.keypoint_set:
        raise ValueError(f"the model predicts {joints.name}, not {dataset.keypoint_set.name}")
    given = detections
    if boxes == "truth":
        given = _labelled_boxes(dataset)
    people = await _predict(pipeline, dataset, pose_model, given, detector_size, progress)
    own, own_variances = _own_predictions(dataset, people, boxes)
    predictions = _all_predictions(people)
    if boxes == "detected":
        predictions = without_duplicates(predictions, joints.sigmas)
    return PredictedPoses(own, own_variances, predictions)


def _labelled_boxes(dataset: PoseDataset) -> DetectedBoxes:
    """The labelled boxes, in the dataset's order, as if somebody had found them."""
    boxes = tuple(
        dataset.boxes[dataset.picture_index == index].astype(np.float32)
        for index in range(len(dataset.pictures))
    )
    return DetectedBoxes(boxes, tuple(np.ones(len(b), np.float32) for b in boxes), left_out=0)


async def _predict(
    pipeline: PosePipeline,
    dataset: PoseDataset,
    pose_model: str,
    given: DetectedBoxes | None,
    detector_size: int,
    progress: Callable[[int], None],
) -> list[People]:
    """The people predicted in each picture, in the order of the boxes if these are given."""
    places = asyncio.Semaphore(_IN_FLIGHT)
    done = 0

    async def predict(index: int) -> People:
        nonlocal done
        async with places:
            boxes = None if given is None else given.boxes[index]
            if boxes is not None and not len(boxes):
                people = People.empty(dataset.keypoint_set)
            else:
                options = PoseOptions(
                    boxes=None if boxes is None else tuple(map(tuple, boxes.tolist())),
                    detection_threshold=LOWEST_THRESHOLD,
                    detector_size=detector_size,
                    pose_model=pose_model,
                )
                image = await asyncio.to_thread(dataset.pictures[index].read)
                people = (await pipeline(image, options)).people
        if given is not None:
            people = replace(people, scores=given.scores[index])
        done += 1
        progress(done)
        return people

    return await asyncio.gather(*map(predict, range(len(dataset.pictures))))


def _own_predictions(
    dataset: PoseDataset, people: list[People], boxes: Boxes
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`[P,J,3]` and variances `[P,J,2]` predicted for each labelled person; infinite for none."""
    own = np.full((len(dataset), len(dataset.keypoint_set), 3), np.inf, np.float32)
    variances = np.full((*own.shape[:2], 2), np.inf, np.float32)
    for index, found in enumerate(people):
        labelled = np.flatnonzero(dataset.picture_index == index)
        if boxes == "detected":
            found = found[found.scores >= PoseOptions().detection_threshold]
            matches = match_people(dataset.boxes[labelled], found.boxes)
            labelled, found = labelled[matches >= 0], found[matches[matches >= 0]]
        own[labelled] = found.keypoints
        variances[labelled] = found.variances
    return own, variances


def _all_predictions(people: list[People]) -> Predictions:
    counts = [len(found) for found in people]
    return Predictions(
        picture_index=np.repeat(np.arange(len(people)), counts),
        boxes=np.concatenate([found.boxes for found in people]),
        scores=np.concatenate([found.scores for found in people]),
        keypoints=np.concatenate([found.keypoints for found in people]),
    )
