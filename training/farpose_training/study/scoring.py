"""A finished run's scores, by the code of `farpose evaluate`, as named columns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from farpose.engine import Engine
from farpose.engines.combined import CombinedEngine
from farpose.engines.opening import open_detector
from farpose.evaluation.boxes import EXTENT_SCALE, with_scaled_boxes
from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.heights import Accuracy
from farpose.evaluation.pck import HEIGHT_BINS
from farpose.evaluation.runner import PoseReport, evaluate_pose
from farpose.evaluation.shrink import SHRINK_HEIGHTS, ShrinkColumn, shrink_table
from farpose.pipeline import PosePipeline
from farpose.pose_model import DEFAULT_POSE_MODEL
from farpose.repository import default_repository
from farpose_training.data.drawn.source import materialised
from farpose_training.data.sources import load_source
from farpose_training.evaluation import CheckpointEngine
from farpose_training.study.config import ScoreConfig

Scores = dict[str, float]
"""`SET.BOXES.METRIC`, `SET.BOXES.LOW-HIGH.METRIC` by height and `SET.shrink.HEIGHT.METRIC`; nan
where nobody could be scored."""

TOTALS = ("pck_0.2", "pck_0.5", "mean_oks", "AP", "AP50", "AR", "found")
PARTS = ("people", "pck_0.2", "pck_0.5")


def height_names() -> list[str]:
    """The bins of person heights as columns name them: `0-12` to `192-inf`."""
    return [f"{low:.0f}-{high:.0f}" for low, high in pairwise(HEIGHT_BINS)]


def score_columns(sets: Sequence[ScoreConfig]) -> list[str]:
    """The names of all scores of these sets."""
    columns = []
    for score in sets:
        for boxes in score.boxes:
            columns += [f"{score.name}.{boxes}.{metric}" for metric in TOTALS]
            columns += [
                f"{score.name}.{boxes}.{height}.{metric}"
                for height in height_names()
                for metric in PARTS
            ]
        if score.shrink:
            columns += [
                f"{score.name}.shrink.{height}.{metric}"
                for height in SHRINK_HEIGHTS
                for metric in PARTS
            ]
    return columns


def score_checkpoint(checkpoint: Path, sets: Sequence[ScoreConfig]) -> Scores:
    """Score a checkpoint on every set.

    Raises:
        CheckpointError, DatasetError, EngineError: something of it cannot be used.
    """
    engine = CheckpointEngine(checkpoint)
    scores: Scores = {}
    with asyncio.Runner() as runner:
        for score in sets:
            scores |= runner.run(_score_set(engine, score))
    return scores


async def _score_set(engine: Engine, score: ScoreConfig) -> Scores:
    joints = (await PosePipeline(engine).pose_model(DEFAULT_POSE_MODEL)).keypoint_set
    dataset = _dataset(score).converted(joints)
    scores: Scores = {}
    with contextlib.ExitStack() as stack:
        used = engine
        if "detected" in score.boxes:
            detector = open_detector(score.detector or default_repository())
            used = CombinedEngine(engine, stack.enter_context(detector))
        pipeline = PosePipeline(used)
        for boxes in score.boxes:
            report = await evaluate_pose(
                pipeline,
                dataset,
                pose_model=DEFAULT_POSE_MODEL,
                boxes=boxes,
                detector_size=score.detector_size,
            )
            scores |= _report_scores(f"{score.name}.{boxes}", report)
        if score.shrink:
            columns = await shrink_table(pipeline, dataset, DEFAULT_POSE_MODEL)
            scores |= _shrink_scores(f"{score.name}.shrink", columns)
    return scores


def _dataset(score: ScoreConfig) -> PoseDataset:
    source = materialised(score.source)
    dataset = load_source(source)
    return with_scaled_boxes(dataset, EXTENT_SCALE) if source.extent_boxes else dataset


def _report_scores(name: str, report: PoseReport) -> Scores:
    precision, total = report.precision, report.accuracy
    values = (total.pck_02, total.pck_05, total.mean_oks, precision.ap, precision.ap50)
    scores = dict(zip(TOTALS, (*values, precision.ar, report.found), strict=True))
    for height, row in zip(height_names(), report.heights, strict=True):
        scores |= _part_scores(height, row.accuracy)
    return {f"{name}.{metric}": value for metric, value in scores.items()}


def _shrink_scores(name: str, columns: Sequence[ShrinkColumn]) -> Scores:
    scores: Scores = {}
    for column in columns:
        scores |= _part_scores(f"{name}.{column.height}", column.accuracy)
    return scores


def _part_scores(name: str, accuracy: Accuracy) -> Scores:
    values = (accuracy.people, accuracy.pck_02, accuracy.pck_05)
    return {f"{name}.{metric}": value for metric, value in zip(PARTS, values, strict=True)}
