"""`farpose bench pipeline`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from farpose.benchmarks.machine import Machine, peak_memory, this_machine
from farpose.benchmarks.pipeline import (
    FIXED_BOXES,
    STAGES,
    PipelineTiming,
    as_frame,
    generated_frame,
    people_to_pose,
    time_pipeline,
)
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository


def pipeline(
    image: Annotated[
        Path | None,
        typer.Option(help="A picture with at least four people; a generated one by default."),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Runs to take the median of.")] = 50,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads per model; the runtime's choice by default.")
    ] = None,
    detector_sizes: Annotated[
        list[int], typer.Option("--detector-size", help="May be given again.")
    ] = [320, 640],  # noqa: B006 (Typer copies it)
    repository: Annotated[
        Path | None, typer.Option(help="Model repository; the bundled one by default.")
    ] = None,
    pose_model: Annotated[str, typer.Option(help="A pose model of it, or auto.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object as the last line.")
    ] = False,
) -> None:
    """Milliseconds per stage for a frame of 1280x720 with four people."""
    from farpose.engines.onnxruntime import OnnxRuntimeEngine

    frame = generated_frame() if image is None else as_frame(image.read_bytes())
    models = repository or default_repository()
    with OnnxRuntimeEngine(models, threads=threads) as engine, asyncio.Runner() as runner:
        tested = PosePipeline(engine)
        boxes = runner.run(people_to_pose(tested, frame)) if image else FIXED_BOXES
        timings = [
            runner.run(
                time_pipeline(
                    tested,
                    frame,
                    boxes,
                    detector_size=size,
                    repetitions=repetitions,
                    pose_model=pose_model,
                )
            )
            for size in detector_sizes
        ]
    machine, memory = this_machine(), peak_memory()
    typer.echo(f"{machine}; threads per model: {threads or 'runtime default'}")
    typer.echo(f"{_frame_text(image, boxes is FIXED_BOXES)}; median of {repetitions}")
    typer.echo(_table(timings))
    typer.echo(f"peak memory {memory:.0f} MiB")
    if as_json:
        typer.echo(json.dumps(_json(machine, threads, repetitions, timings, memory)))


def _frame_text(image: Path | None, fixed: bool) -> str:
    if image is None:
        return (
            "generated frame of 1280x720: the detector runs on it, the pose model on 4 fixed boxes"
        )
    boxes = "4 fixed boxes, as fewer people were found" if fixed else "the 4 surest people"
    return f"{image} cut to 1280x720: the detector runs on it, the pose model on {boxes}"


def _table(timings: list[PipelineTiming]) -> str:
    header = "".join(f"{f'detector {t.detector_size}':>22}" for t in timings)
    lines = [f"{'ms (share)':<24}{header}"]
    for stage in STAGES:
        row = "".join(f"{f'{t.stages[stage]:.2f} ({t.share(stage):4.0%})':>22}" for t in timings)
        lines.append(f"{stage:<24}{row}")
    rows = (
        ("total", [f"{t.total:.2f}" for t in timings]),
        ("(crop + pose) / detector", [f"{t.pose_per_detector:.3f}" for t in timings]),
        ("outside the two models", [f"{t.outside_models:.1%}" for t in timings]),
    )
    for name, cells in rows:
        lines.append(f"{name:<24}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def _json(
    machine: Machine,
    threads: int | None,
    repetitions: int,
    timings: list[PipelineTiming],
    memory: float,
) -> dict[str, object]:
    return {
        "machine": {
            "processor": machine.processor,
            "cores": machine.cores,
            "versions": machine.versions,
        },
        "threads": threads,
        "repetitions": repetitions,
        "people": len(FIXED_BOXES),
        "peak_memory_mib": round(memory, 1),
        "runs": [
            {
                "detector_size": t.detector_size,
                "stages_ms": {stage: round(value, 3) for stage, value in t.stages.items()},
                "total_ms": round(t.total, 3),
                "pose_per_detector": round(t.pose_per_detector, 4),
                "outside_models": round(t.outside_models, 4),
            }
            for t in timings
        ],
    }
