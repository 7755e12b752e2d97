"""`farpose export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose_export.precise import Int8Layers, LabelledFiles, Precision, Target, export_pose


class ExportOptionError(ValueError):
    """Options that do not go together."""


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint.safetensors of farpose train.")],
    repository: Annotated[Path, typer.Option(help="The Triton model repository to add it to.")],
    name: Annotated[str, typer.Option(help="The model's name there.")] = "lowres_pose",
    precision: Annotated[
        Precision,
        typer.Option(help="fp16 and int8 are compared with fp32 on --annotations first."),
    ] = Precision.FP32,
    target: Annotated[
        Target, typer.Option(help="What an int8 or fused graph is for: their operators differ.")
    ] = Target.CPU,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Labelled people that every step is scored on, as of farpose evaluate."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of their pictures.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Labelled people, others than those, whose crops int8 is fitted to."),
    ] = None,
    calibration_images: Annotated[
        Path | None, typer.Option(help="The folder of their pictures.")
    ] = None,
    int8_layers: Annotated[
        Int8Layers,
        typer.Option(help="long: only sums of 576 terms or more, which gain most on a CPU."),
    ] = Int8Layers.ALL,
    auto_fp32: Annotated[
        bool,
        typer.Option("--auto-fp32", help="Keep the fewest layers in fp32 that pass the gate."),
    ] = False,
    fused: Annotated[
        bool,
        typer.Option(
            "--fused",
            help="Write NAME_fused, with the crop in the graph: frame and boxes to keypoints.",
        ),
    ] = False,
) -> None:
    """Freeze a checkpoint to ONNX as a new version of a model in a Triton repository.

    Every step, from the checkpoint to fp32 and from there to fp16 or int8, is measured; past a
    limit nothing is written, and the layers at fault are named.
    """
    version, report = export_pose(
        checkpoint,
        repository,
        name,
        precision,
        target,
        people=labelled_files("--annotations", annotations, "--images", images),
        calibration=labelled_files(
            "--calibration", calibration, "--calibration-images", calibration_images
        ),
        int8_layers=int8_layers,
        auto_fp32=auto_fp32,
        fused=fused,
        say=lambda text: typer.echo(text, err=True),
    )
    for step in report.steps:
        typer.echo(step.text())
    if report.fused is not None:
        typer.echo(report.fused.text())
    typer.echo(str(version))


def labelled_files(
    one: str, annotations: Path | None, other: str, images: Path | None
) -> LabelledFiles | None:
    """What two options name; `ExportOptionError` if only one of them is given."""
    if annotations is None and images is None:
        return None
    if annotations is None or images is None:
        given, missing = (other, one) if annotations is None else (one, other)
        raise ExportOptionError(f"{given} is given without {missing}")
    return LabelledFiles(annotations, images)
