"""`python -m farpose_training.labelling`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository
from farpose.sources import files_of
from farpose_training.labelling.comparison import AP_DRAWS, Change, compare, is_better
from farpose_training.labelling.errors import LabellingError
from farpose_training.labelling.pseudo import PseudoLabels, Rule, label_files
from farpose_training.module_command import run

SMALL_TEACHER = 128
"""A teacher whose crops have fewer pixels a side sees little that the student does not."""

RULE = Rule()
OPTIONS = PoseOptions(detection_threshold=0.5)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def label(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Videos, pictures, or folders of them."),
    ],
    teacher: Annotated[Path, typer.Option(help="A checkpoint, or another pose model.")],
    output: Annotated[Path, typer.Option(help="Folder for labels.json and images/.")],
    every: Annotated[int, typer.Option(min=1, help="Use one in so many frames of a video.")] = 10,
    min_height: Annotated[
        float, typer.Option(min=1, help="Label people at least this tall, in pixels.")
    ] = RULE.min_height,
    joint_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out joints less sure than this.")
    ] = RULE.joint_threshold,
    min_joints: Annotated[
        int, typer.Option(min=1, help="Leave out people with fewer sure joints.")
    ] = RULE.min_joints,
    detection_threshold: Annotated[
        float, typer.Option(min=0.05, max=1, help="Leave out people less sure than this.")
    ] = OPTIONS.detection_threshold,
    detector_size: Annotated[
        int, typer.Option(min=128, max=1280, help="Longer side the detector sees, in pixels.")
    ] = OPTIONS.detector_size,
    repository: Annotated[
        Path | None, typer.Option(help="Whose detector finds people; the bundled one by default.")
    ] = None,
) -> None:
    """Let a teacher label the large people of footage, for a student that learns them small."""
    from farpose.engines.combined import CombinedEngine
    from farpose.engines.opening import open_detector, open_model

    rule = Rule(min_height, joint_threshold, min_joints)
    files = [file for source in sources for file in files_of(source)]
    with open_model(teacher) as opened, open_detector(repository or default_repository()) as finder:
        if opened.is_detector:
            raise LabellingError(f"--teacher {teacher}: a detector knows no joints")
        pipeline = PosePipeline(CombinedEngine(opened.engine, finder))
        options = PoseOptions(
            detection_threshold=detection_threshold,
            detector_size=detector_size,
            pose_model=opened.name,
        )
        labels = _labels(pipeline, opened.name, output)
        for path, counts in label_files(files, pipeline, labels, rule, options, every):
            _progress(f"{path}: {counts.labelled} people so far")
    _progress("")
    counts = labels.counts
    summary = f"{counts.small} smaller, {counts.unsure} with fewer than {min_joints} sure joints"
    if not counts.labelled:
        raise LabellingError(
            f"nobody was labelled ({summary}): lower --min-height or --joint-threshold"
        )
    (output / "labels.json").write_text(json.dumps(labels.content()) + "\n")
    typer.echo(f"{output / 'labels.json'}: {counts.labelled} people; left out: {summary}")


@app.command()
def keep(
    base: Annotated[Path, typer.Argument(help="The model in use: checkpoint, .onnx or folder.")],
    new: Annotated[Path, typer.Argument(help="The model that may replace it.")],
    annotations: Annotated[Path, typer.Option(help="People that neither was trained on.")],
    images: Annotated[Path, typer.Option(help="The folder of their pictures.")],
    draws: Annotated[
        int, typer.Option(min=20, help="Times pictures are drawn again for the interval of AP.")
    ] = AP_DRAWS,
) -> None:
    """Print which model to keep: NEW (exit code 0) if it is better beyond chance, else BASE (1)."""
    changes = compare(base, new, annotations, images, draws=draws)
    for change in changes:
        typer.echo(_told(change))
    better = is_better(changes)
    typer.echo(f"keep {new if better else base}")
    raise typer.Exit(0 if better else 1)


def _labels(pipeline: PosePipeline, name: str, output: Path) -> PseudoLabels:
    pose = asyncio.run(pipeline.pose_model(name))
    if pose.resolution < SMALL_TEACHER:
        typer.echo(
            f"note: the teacher sees crops of {pose.resolution}x{pose.resolution} pixels, about "
            "what the student sees: it can teach it little",
            err=True,
        )
    return PseudoLabels(pose.keypoint_set, output / "images")


def _told(change: Change) -> str:
    difference = change.new - change.base
    return (
        f"{change.name:>7}: {change.base:.3f} -> {change.new:.3f}, "
        f"{difference:+.3f} (95 % interval {change.low:+.3f} to {change.high:+.3f})"
    )


def _progress(text: str) -> None:
    """One line on a terminal's stderr that is rewritten; nothing in a log."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)


if __name__ == "__main__":
    run(app, "farpose_training.labelling")
