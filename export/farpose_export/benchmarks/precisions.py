"""`farpose bench export`: the same network in FP32, FP16 and INT8, fast and right.

`int8-long` is INT8 of the long sums only, as of `farpose export --int8-layers long`.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime as ort
import typer

from farpose.benchmarks.machine import this_machine
from farpose.repository import default_repository
from farpose_export.benchmarks.turns import milliseconds
from farpose_export.command import labelled_files
from farpose_export.gate.check import smooth_crops
from farpose_export.gate.outputs import onnx_network
from farpose_export.gate.people import LabelledPeople, PeopleScores
from farpose_export.graph import OUTPUTS, to_onnx
from farpose_export.precise import calibration_crops
from farpose_export.precision.fp16 import to_fp16
from farpose_export.precision.int8 import Quantizer
from farpose_export.precision.layers import long_sums
from farpose_training.checkpoint import Checkpoint, load_model

BATCH_SIZES = (1, 4, 16)


@dataclass(frozen=True)
class Timing:
    """One precision at one batch size."""

    precision: str
    batch_size: int
    crop_ms: float
    """Median milliseconds per crop."""

    speedup: float
    """FP32's time over this one's, median over repetitions."""


def precisions(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(help="Checkpoints; those of the bundled models when not given."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Labelled people to score all precisions on.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of their pictures.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Labelled people to fit INT8 to; generated crops when not given."),
    ] = None,
    calibration_images: Annotated[
        Path | None, typer.Option(help="The folder of their pictures.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each run.")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="That are timed.")] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object as the last line.")
    ] = False,
) -> None:
    """Time FP32, FP16 and INT8 of a pose model on this CPU, and score them."""
    people = labelled_files("--annotations", annotations, "--images", images)
    fitted = labelled_files(
        "--calibration", calibration, "--calibration-images", calibration_images
    )
    typer.echo(f"{this_machine()}; {threads} threads; median of {repetitions}, taking turns")
    content = []
    for path in checkpoints or _bundled():
        loaded = load_model(path)
        crops = (
            smooth_crops(loaded.model.config.resolution)
            if fitted is None
            else calibration_crops(fitted, loaded)
        )
        graphs = _graphs(loaded, crops)
        scores = None if people is None else _scores(graphs, people.load(loaded))
        timings = [
            timing
            for size in BATCH_SIZES
            for timing in _timings(
                graphs, loaded.model.config.resolution, size, threads, repetitions
            )
        ]
        typer.echo(_table(path, timings, scores))
        content.append({"checkpoint": str(path), "timings": [vars(t) for t in timings]})
        if scores is not None:
            content[-1]["scores"] = {name: vars(score) for name, score in scores.items()}
    if as_json:
        typer.echo(json.dumps({"machine": str(this_machine()), "models": content}))


def _bundled() -> list[Path]:
    return sorted(default_repository().glob("lowres_pose*/checkpoint.safetensors"))


def _graphs(loaded: Checkpoint, crops: np.ndarray) -> dict[str, onnx.ModelProto]:
    full = to_onnx(loaded.model, len(loaded.keypoint_set), {})
    graphs = {"fp32": full, "fp16": to_fp16(full), "int8": Quantizer(full, crops)()}
    if long_sums(full):
        graphs["int8-long"] = Quantizer(full, crops, layers="long")()
    return graphs


def _scores(graphs: dict[str, onnx.ModelProto], people: LabelledPeople) -> dict[str, PeopleScores]:
    scores = {}
    for name, graph in graphs.items():
        found = onnx_network(graph)(people.crops)
        scores[name] = people.score(found.keypoints, found.scores)
    return scores


def _timings(
    graphs: dict[str, onnx.ModelProto], resolution: int, size: int, threads: int, repetitions: int
) -> list[Timing]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # the weights that its fusions leave over
    crops = smooth_crops(resolution)[:size]
    runs = [
        partial(
            ort.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            ).run,
            list(OUTPUTS),
            {"crops": crops},
        )
        for graph in graphs.values()
    ]
    full, *_ = times = milliseconds(runs, repetitions)
    return [
        Timing(
            name,
            size,
            statistics.median(own) / size,
            statistics.median(f / o for f, o in zip(full, own, strict=True)),
        )
        for name, own in zip(graphs, times, strict=True)
    ]


def _table(path: Path, timings: list[Timing], scores: dict[str, PeopleScores] | None) -> str:
    header = "".join(f"{f'ms/crop, batch {size}':>22}" for size in BATCH_SIZES)
    lines = [str(path), f"{'':<10}{header}{'PCK@0.2':>10}{'AP':>8}"]
    for name in dict.fromkeys(timing.precision for timing in timings):
        own = [timing for timing in timings if timing.precision == name]
        cells = "".join(f"{f'{t.crop_ms:.3f} ({t.speedup:.2f}x)':>22}" for t in own)
        score = "" if scores is None else f"{scores[name].pck:>10.4f}{scores[name].ap:>8.4f}"
        lines.append(f"{name:<10}{cells}{score}")
    return "\n".join(lines)
