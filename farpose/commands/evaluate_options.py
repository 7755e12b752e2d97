"""The options of `farpose evaluate`, as Typer reads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from farpose.options import PoseOptions

DETECTOR_SIZE: Final = PoseOptions().detector_size


class Boxes(StrEnum):
    """Which boxes people are cropped by."""

    TRUTH = "truth"
    DETECTED = "detected"


Model = Annotated[
    Path,
    typer.Argument(help="An .onnx file, a model's folder in a repository, or a checkpoint."),
]
Annotations = Annotated[
    Path,
    typer.Option(
        help="A COCO-style keypoint file, or one of MPII's: valid.json as HRNet's authors "
        "share it, beside gt_valid.mat for PCKh, or the release's .mat."
    ),
]
Images = Annotated[Path, typer.Option(help="The folder of its pictures.")]
BoxesOf = Annotated[Boxes, typer.Option(help="Crop people by their labelled or by detected boxes.")]
Detections = Annotated[
    Path | None,
    typer.Option(
        help="Crop people by these boxes, of another detector: a file in COCO's results "
        "format, of which category 1 counts."
    ),
]
DetectionThreshold = Annotated[
    float, typer.Option(help="Boxes of --detections that score less are not used.")
]
BoxScale = Annotated[
    float | None,
    typer.Option(
        min=0.5,
        max=3,
        help="Enlarge labelled boxes. By default 1, or 1.2 where they only span the labelled "
        "joints, as those of LSP do.",
    ),
]
Flip = Annotated[
    bool,
    typer.Option("--flip", help="Average each crop with its mirror image (checkpoints only)."),
]
Shrink = Annotated[
    bool,
    typer.Option(
        "--shrink", help="Also score every person, in the labelled box, shrunk to 16-128 px."
    ),
]
WithReliability = Annotated[
    bool,
    typer.Option(
        "--reliability",
        help="Also tell how scores and predicted spreads go with the real errors.",
    ),
]
ReliabilityPlot = Annotated[
    Path | None,
    typer.Option(help="The same as a picture, .png, .svg or .pdf.", dir_okay=False),
]
DetectorSize = Annotated[
    int, typer.Option(min=128, max=1280, help="Longer side the detector sees, in pixels.")
]
Repository = Annotated[
    Path | None,
    typer.Option(help="Whose detector finds people; the bundled models by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write a report into this empty folder: accuracy by height with intervals, examples, "
        "reliability, and all of it on degraded frames."
    ),
]
Against = Annotated[
    Path | None, typer.Option(help="With --report: a second model, compared with MODEL.")
]
Degrade = Annotated[
    list[str] | None,
    typer.Option(
        help="With --report: blur=PIXELS, jpeg=QUALITY, noise=LEVELS or resolution=SHARE; repeat "
        "it for more, or say none. By default a few strengths of each."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="With --report: a sample of so many pictures with people."),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="With --report: of its sample, noise and intervals; 0 by default."),
]
