"""Everything a report is made from: one or two models, on clean and on degraded frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.report.bootstrap import RESAMPLES, Draws
from farpose.evaluation.report.calibration import Calibration, calibrate
from farpose.evaluation.report.degradations import Degradation
from farpose.evaluation.report.measuring import Protocol, measure
from farpose.evaluation.report.mistakes import Errors, errors_of
from farpose.evaluation.report.scoring import Scores, score
from farpose.evaluation.runner import PredictedPoses
from farpose.pipeline import PosePipeline

CLEAN: Final = "as they are"
"""Name of the frames that nothing is done to."""


class SkeletonError(ValueError):
    """The models, or a model and the labels, have no joints in common that could be compared."""


@dataclass(frozen=True)
class Candidate:
    """A model to be measured."""

    label: str
    """What the report calls it."""

    path: str
    """What the user named it by."""

    pipeline: PosePipeline
    pose_model: str
    """Its name in the pipeline."""


@dataclass(frozen=True)
class Condition:
    """One model on frames as they are, or degraded in one way."""

    degradation: Degradation | None
    poses: PredictedPoses
    scores: Scores
    calibration: Calibration
    errors: Errors

    @property
    def label(self) -> str:
        """As people read it."""
        return CLEAN if self.degradation is None else self.degradation.label


@dataclass(frozen=True)
class Measured:
    """One model."""

    label: str
    path: str
    clean: Condition
    degraded: tuple[Condition, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Clean frames first."""
        return (self.clean, *self.degraded)


@dataclass(frozen=True)
class Study:
    """What was measured, and how."""

    dataset: PoseDataset
    """With the joints of the models."""

    models: tuple[Measured, ...]
    protocol: Protocol
    resamples: int


Progress = Callable[[str, int, int], None]
"""Told what runs, how many pictures are done in all, and how many there are in all."""


async def joints_of(candidates: Sequence[Candidate], dataset: PoseDataset) -> PoseDataset:
    """The people of a dataset with the joints of all candidates.

    Raises:
        SkeletonError: the models answer different joints, or none that is labelled.
        EngineError: one is no pose model.
    """
    sets = [(await c.pipeline.pose_model(c.pose_model)).keypoint_set for c in candidates]
    for candidate, joints in zip(candidates, sets, strict=True):
        if joints != sets[0]:
            raise SkeletonError(
                f"{candidate.path} answers the joints of {joints.name}, {candidates[0].path} those "
                f"of {sets[0].name}: only models of one skeleton can be compared"
            )
    converted = dataset.converted(sets[0])
    labelled = np.asarray((converted.keypoints[..., 2] > 0).any(axis=1))
    if not labelled.any():
        raise SkeletonError(
            f"nobody has a labelled joint that {candidates[0].path} answers: the labels have "
            f"{', '.join(dataset.keypoint_set.joints)}, the model {', '.join(sets[0].joints)}"
        )
    return converted.select(labelled)


async def run_study(
    candidates: Sequence[Candidate],
    dataset: PoseDataset,
    protocol: Protocol,
    degradations: Sequence[Degradation],
    *,
    resamples: int = RESAMPLES,
    progress: Progress = lambda what, done, total: None,
) -> Study:
    """Measure one or two models on the same people, the same degraded frames and the same draws.

    Args:
        candidates: one or two, with the joints of the dataset.
        dataset: what `joints_of` answered.
        protocol: how people are cropped, and the seed of noise and draws.
        degradations: tried besides the frames as they are.
        resamples: draws of the intervals.
        progress: told after every picture.

    Raises:
        DatasetError: a picture cannot be read.
        EngineError: a model failed.
        ImportError: SciPy or `pycocotools` is not installed (extra `evaluate`).
    """
    pictures = len(dataset.pictures)
    # A detector answers pictures without people too; labelled boxes are only where people are.
    used = np.arange(pictures) if protocol.boxes == "detected" else np.unique(dataset.picture_index)
    draws = Draws.of(pictures, used, seed=protocol.seed, resamples=resamples)
    steps: list[Degradation | None] = [None, *degradations]
    total = pictures * len(steps) * len(candidates)
    done = 0
    models = []
    for candidate in candidates:
        conditions = []
        for step in steps:
            name = f"{candidate.label}, {CLEAN if step is None else step.label}"
            before = done

            def tell(of_step: int, name: str = name, before: int = before) -> None:
                progress(name, before + of_step, total)

            poses = await measure(
                candidate.pipeline, dataset, candidate.pose_model, protocol, step, tell
            )
            conditions.append(
                Condition(
                    degradation=step,
                    poses=poses,
                    scores=score(poses, dataset, draws),
                    calibration=calibrate(poses, dataset),
                    errors=errors_of(poses, dataset),
                )
            )
            done += pictures
        models.append(
            Measured(candidate.label, candidate.path, conditions[0], tuple(conditions[1:]))
        )
    return Study(dataset, tuple(models), protocol, resamples)
