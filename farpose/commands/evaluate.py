"""`farpose evaluate`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import typer

from farpose.commands import evaluate_options as options
from farpose.commands.evaluate_options import Boxes
from farpose.commands.evaluate_report import (
    ReportRequest,
    check_report_options,
    chosen_degradations,
    report_content,
)
from farpose.evaluation.boxes import EXTENT_SCALE, are_joint_extents, with_scaled_boxes
from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.detections import DetectedBoxes, load_detections
from farpose.evaluation.detector_runner import run_detector, unscored_boxes
from farpose.evaluation.formats import format_of, load_annotated
from farpose.evaluation.pckh import head_accuracy
from farpose.evaluation.reliability import reliability
from farpose.evaluation.reliability_plot import check_plot, plot_reliability
from farpose.evaluation.report.measuring import Protocol
from farpose.evaluation.report.writing import Facts
from farpose.evaluation.runner import PoseReport, evaluate_pose
from farpose.evaluation.shrink import shrink_table
from farpose.evaluation.tables import (
    detector_json,
    detector_text,
    pose_json,
    pose_text,
    reliability_json,
    reliability_text,
)
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository


class EvaluateOptionError(ValueError):
    """Options that do not go together."""


def evaluate(
    model: options.Model,
    annotations: options.Annotations,
    images: options.Images,
    boxes: options.BoxesOf = Boxes.TRUTH,
    detections: options.Detections = None,
    detection_threshold: options.DetectionThreshold = 0.0,
    box_scale: options.BoxScale = None,
    flip: options.Flip = False,
    shrink: options.Shrink = False,
    with_reliability: options.WithReliability = False,
    reliability_plot: options.ReliabilityPlot = None,
    detector_size: options.DetectorSize = options.DETECTOR_SIZE,
    repository: options.Repository = None,
    report: options.Report = None,
    against: options.Against = None,
    degrade: options.Degrade = None,
    limit: options.Limit = None,
    seed: options.Seed = None,
    as_json: options.AsJson = False,
) -> None:
    """Score a pose model, or the detector, on labelled people."""
    from farpose.engines.combined import CombinedEngine
    from farpose.engines.opening import open_detector, open_model

    if reliability_plot is not None:
        check_plot(reliability_plot)
    mpii = format_of(annotations) == "mpii"
    if mpii and detections is not None:
        raise EvaluateOptionError(
            f"{annotations} is of MPII, whose pictures have no ids: --detections is for "
            "COCO-style files"
        )
    check_report_options(
        report,
        only_with={
            "--against": against,
            "--degrade": degrade,
            "--limit": limit,
            "--seed": seed,
        },
        not_with={
            "--shrink": shrink,
            "--reliability": with_reliability,
            "--reliability-plot": reliability_plot,
        },
    )
    dataset, box_scale = _boxes_alike(load_annotated(annotations, images), box_scale)
    if mpii and dataset.head_sizes is None:
        truth = annotations.with_name(f"gt_{annotations.stem}.mat")
        typer.echo(f"no PCKh: the head sizes are in {truth}, which is not there")
    if detection_threshold and detections is None:
        raise EvaluateOptionError("--detection-threshold is for the boxes of --detections")
    found = None
    if detections is not None:
        found = _load_detections(detections, dataset, detection_threshold)
    if found is not None:
        boxes = Boxes.DETECTED
    facts = {"model": str(model), "annotations": str(annotations), "boxes": boxes.value}
    if detections is not None:
        facts["detections"] = str(detections)
    if report is not None:
        detects = boxes is Boxes.DETECTED and found is None
        content = report_content(
            ReportRequest(
                models=(model,) if against is None else (model, against),
                folder=report,
                facts=Facts(
                    str(annotations), str(images), facts.get("detections"), box_scale=box_scale
                ),
                protocol=Protocol(boxes.value, detector_size, found, seed or 0),
                degradations=chosen_degradations(degrade),
                limit=limit,
                flip=flip,
                detector=(repository or default_repository()) if detects else None,
            ),
            dataset,
        )
        if as_json:
            typer.echo(json.dumps(facts | content))
        return
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        opened = stack.enter_context(open_model(model, flip=flip))
        if opened.is_detector:
            if shrink or boxes is Boxes.DETECTED or with_reliability or reliability_plot:
                raise EvaluateOptionError(
                    f"{model} is a detector: --shrink, --reliability, --boxes and --detections are "
                    "for pose models"
                )
            if mpii:
                raise EvaluateOptionError(
                    f"{annotations} is of MPII, which has no boxes that a detector could be "
                    "scored on: use a COCO-style file"
                )
            others = unscored_boxes(annotations, dataset)
            pipeline = PosePipeline(opened.engine)
            detected = run_detector(runner, pipeline, dataset, others, detector_size)
            typer.echo(detector_text(detected))
            content = detector_json(detected)
        else:
            engine = opened.engine
            if boxes is Boxes.DETECTED and found is None:
                detector = open_detector(repository or default_repository())
                engine = CombinedEngine(engine, stack.enter_context(detector))
            dataset, scored, content = runner.run(
                _evaluate_pose(
                    PosePipeline(engine), opened.name, dataset, boxes, found, detector_size, shrink
                )
            )
            if with_reliability or reliability_plot:
                content["reliability"] = _reliability(dataset, scored, reliability_plot)
    if as_json:
        typer.echo(json.dumps(facts | content))


async def _evaluate_pose(
    pipeline: PosePipeline,
    name: str,
    dataset: PoseDataset,
    boxes: Boxes,
    detections: DetectedBoxes | None,
    detector_size: int,
    shrink: bool,
) -> tuple[PoseDataset, PoseReport, dict[str, object]]:
    """The people with the model's joints, their report, and what it says for programs."""
    joints = (await pipeline.pose_model(name)).keypoint_set
    dataset = dataset.converted(joints)
    report = await evaluate_pose(
        pipeline,
        dataset,
        pose_model=name,
        boxes=boxes.value,
        detector_size=detector_size,
        detections=detections,
        progress=lambda done: _progress(f"{done}/{len(dataset.pictures)} pictures"),
    )
    _progress("")
    if boxes is Boxes.DETECTED:
        typer.echo(f"{report.found} of {len(dataset)} people were detected")
    columns = await shrink_table(pipeline, dataset, name) if shrink else None
    heads = None if dataset.head_sizes is None else head_accuracy(report.own, dataset)
    typer.echo(pose_text(report, columns, heads))
    return dataset, report, pose_json(report, columns, heads)


def _reliability(dataset: PoseDataset, report: PoseReport, plot: Path | None) -> dict[str, object]:
    result = reliability(report.own, report.own_variances, dataset)
    typer.echo(f"\n{reliability_text(result)}")
    if plot is not None:
        plot_reliability(result, plot)
    return reliability_json(result)


def _load_detections(path: Path, dataset: PoseDataset, threshold: float) -> DetectedBoxes:
    found = load_detections(path, dataset, threshold)
    if found.left_out:
        typer.echo(
            f"{found.left_out} boxes of {path} are left out: they have no area, lie outside of "
            "their picture, or are too many for it"
        )
    return found


def _boxes_alike(dataset: PoseDataset, scale: float | None) -> tuple[PoseDataset, float]:
    """The people in boxes that a model is trained on, and what these were enlarged by."""
    if scale is None:
        extents = are_joint_extents(dataset)
        if extents:
            typer.echo(
                f"the labelled boxes only span the joints: they are enlarged by {EXTENT_SCALE}"
            )
        scale = EXTENT_SCALE if extents else 1.0
    return with_scaled_boxes(dataset, scale), scale


def _progress(text: str) -> None:
    """One line on a terminal's stderr that is rewritten; nothing in a log."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
