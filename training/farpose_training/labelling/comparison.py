"""Whether one model is better than another on the same people, or only luckier.

Both are scored by the evaluation of `farpose evaluate`, in the labelled boxes. How much the
difference would vary with other pictures is told by the bootstrap: pictures are drawn again with
replacement, each with all its people and both models' answers for them (Efron and Tibshirani, "An
Introduction to the Bootstrap", percentile intervals).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.engines.opening import open_model
from farpose.evaluation.boxes import EXTENT_SCALE, are_joint_extents, with_scaled_boxes
from farpose.evaluation.dataset import PoseDataset, load_dataset
from farpose.evaluation.ignored import rows_in_pictures
from farpose.evaluation.oks import Predictions, average_precision
from farpose.evaluation.pck import correct_joints, pck
from farpose.evaluation.runner import PoseReport, evaluate_pose
from farpose.pipeline import PosePipeline
from farpose_training.labelling.errors import LabellingError

CONFIDENCE: Final = 0.95

MIN_PICTURES: Final = 10
"""The bootstrap says nothing useful about fewer pictures with scored people."""

PCK_DRAWS: Final = 10_000

AP_DRAWS: Final = 200
"""Fewer than for PCK: each is two evaluations of its own."""


@dataclass(frozen=True)
class Change:
    """A score of both models, and between what their difference lies."""

    name: str
    base: float
    new: float
    low: float
    high: float
    """Ends of the 95 % interval of `new - base`."""

    @property
    def improved(self) -> bool:
        """Whether the new model is better by more than chance explains."""
        return self.low > 0

    @property
    def worsened(self) -> bool:
        """Whether it is worse by more than chance explains."""
        return self.high < 0


def is_better(changes: tuple[Change, ...]) -> bool:
    """Whether some score improved and none worsened."""
    return any(c.improved for c in changes) and not any(c.worsened for c in changes)


def compare(
    base: Path, new: Path, annotations: Path, images: Path, *, draws: int = AP_DRAWS, seed: int = 0
) -> tuple[Change, Change]:
    """PCK@0.2 and AP of two models on a labelled set.

    Args:
        base: an ONNX file, a model's folder in a repository, or a checkpoint.
        new: likewise, with the same keypoint set.
        annotations: a COCO-style keypoint file, whose pictures neither model was trained on.
        images: the folder of its pictures.
        draws: of pictures, for the interval of AP.
        seed: of the draws.

    Raises:
        LabellingError: the models or the set cannot be compared.
        DatasetError, EngineError: a file cannot be used.
    """
    dataset = load_dataset(annotations, images)
    if are_joint_extents(dataset):
        dataset = with_scaled_boxes(dataset, EXTENT_SCALE)
    base_dataset, base_report = asyncio.run(_evaluate(base, dataset))
    dataset, new_report = asyncio.run(_evaluate(new, dataset))
    if base_dataset.keypoint_set != dataset.keypoint_set:
        raise LabellingError(
            f"{base} predicts {base_dataset.keypoint_set.name}, {new} "
            f"{dataset.keypoint_set.name}: only models with the same joints can be compared"
        )
    rng = np.random.default_rng(seed)
    return (
        pck_change(dataset, base_report.own, new_report.own, rng),
        ap_change(dataset, base_report.predictions, new_report.predictions, rng, draws),
    )


def pck_change(
    dataset: PoseDataset,
    base: NDArray[np.floating],
    new: NDArray[np.floating],
    rng: np.random.Generator,
) -> Change:
    """The change in PCK@0.2.

    Args:
        dataset: `P` people.
        base: `[P,J,3]` one model's joints for each, picture pixels.
        new: the other's.
        rng: draws the pictures.

    Raises:
        LabellingError: too few pictures have people who can be scored.
    """
    correct = [correct_joints(k, dataset.keypoints, dataset.keypoint_set) for k in (base, new)]
    people = [np.nansum(c, axis=1) for c in correct] + [np.isfinite(correct[0]).sum(axis=1)]
    count = len(dataset.pictures)
    right_base, right_new, joints = (
        np.bincount(dataset.picture_index, values, count) for values in people
    )
    scored = joints > 0
    if scored.sum() < MIN_PICTURES:
        raise LabellingError(
            f"{scored.sum()} pictures have people with shoulders and hips to score by: label at "
            f"least {MIN_PICTURES} before you compare models"
        )
    gained = (right_new - right_base)[scored]
    draws = rng.multinomial(len(gained), np.full(len(gained), 1 / len(gained)), PCK_DRAWS)
    differences = (draws @ gained) / (draws @ joints[scored])
    return _change("PCK@0.2", pck(correct[0]), pck(correct[1]), differences)


def ap_change(
    dataset: PoseDataset,
    base: Predictions,
    new: Predictions,
    rng: np.random.Generator,
    draws: int = AP_DRAWS,
) -> Change:
    """The change in AP; `base` and `new` are what both models predict."""
    differences = np.empty(draws)
    for i in range(draws):
        pictures = rng.integers(len(dataset.pictures), size=len(dataset.pictures))
        truth = redrawn_dataset(dataset, pictures)
        scores = [average_precision(truth, redrawn(p, pictures)).ap for p in (base, new)]
        differences[i] = scores[1] - scores[0]
    whole = [average_precision(dataset, predictions).ap for predictions in (base, new)]
    return _change("AP", whole[0], whole[1], differences)


def _change(name: str, base: float, new: float, differences: NDArray[np.float64]) -> Change:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Change(name, base, new, float(low), float(high))


async def _evaluate(model: Path, dataset: PoseDataset) -> tuple[PoseDataset, PoseReport]:
    """The dataset with the model's joints, and its scores."""
    with open_model(model) as opened:
        if opened.is_detector:
            raise LabellingError(f"{model} is a detector: give two pose models")
        pipeline = PosePipeline(opened.engine)
        converted = dataset.converted((await pipeline.pose_model(opened.name)).keypoint_set)
        return converted, await evaluate_pose(pipeline, converted, pose_model=opened.name)


def redrawn_dataset(dataset: PoseDataset, pictures: NDArray[np.intp]) -> PoseDataset:
    """The dataset with these pictures, each as often as it is listed."""
    rows, index = rows_in_pictures(dataset.picture_index, pictures)
    return replace(
        dataset.select(rows),
        pictures=tuple(dataset.pictures[i] for i in pictures),
        picture_index=index,
        ignored=dataset.ignored.in_pictures(pictures),
    )


def redrawn(predictions: Predictions, pictures: NDArray[np.intp]) -> Predictions:
    """What is predicted in the pictures of `redrawn_dataset`."""
    rows, index = rows_in_pictures(predictions.picture_index, pictures)
    return Predictions(
        index, predictions.boxes[rows], predictions.scores[rows], predictions.keypoints[rows]
    )
