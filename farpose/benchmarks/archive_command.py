"""`farpose bench archive`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from farpose.benchmarks.archive import (
    ArchiveRun,
    OtherRun,
    loop,
    measure,
    measure_ultralytics,
)
from farpose.benchmarks.machine import this_machine
from farpose.cores import usable_cores
from farpose.options import PoseOptions
from farpose.outputs import atomic_file


def archive(
    clip: Annotated[Path, typer.Argument(help="A video file.")],
    minutes: Annotated[
        float, typer.Option(min=0, help="Length of the video that memory is watched over; 0: none.")
    ] = 60.0,
    ultralytics: Annotated[
        Path | None,
        typer.Option(help="A Python that has the package ultralytics, to run beside."),
    ] = None,
    detector_size: Annotated[
        int, typer.Option(min=128, max=1280, help="Longer side the detector sees.")
    ] = PoseOptions().detector_size,
    output: Annotated[Path | None, typer.Option(help="A Markdown file to write too.")] = None,
) -> None:
    """Frames per second from a video file to Parquet, the models' share, memory over an hour."""
    options = PoseOptions(detector_size=detector_size)
    run = measure(clip, options)
    other = measure_ultralytics(ultralytics, clip, detector_size) if ultralytics else None
    sections = [_speed(clip, run, other, detector_size)]
    if minutes:
        with tempfile.TemporaryDirectory(prefix="farpose-bench-") as folder:
            video = Path(folder) / f"long{clip.suffix}"
            length = loop(clip, video, minutes)
            sections.append(_memory(measure(video, options), length))
    text = (
        f"# Archives\n\nMade by `farpose bench archive`. {this_machine()}. Clip {clip.name}, "
        f"{run.frames} frames, detector at {detector_size}, {usable_cores()} copies of the models "
        f"with a thread each, no tracks.\n\n" + "\n\n".join(sections) + "\n"
    )
    typer.echo(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(output) as partial:
            partial.write_text(text)


def _speed(clip: Path, run: ArchiveRun, other: OtherRun | None, size: int) -> str:
    lines = [
        "## From file to Parquet",
        "",
        "| | frames | s | frames/s |",
        "|---|---|---|---|",
        f"| `farpose predict {clip.name} --output people.parquet`, from loading the models to the "
        f"finished table | {run.frames} | {run.seconds:.1f} | {run.rate:.1f} |",
        f"| the same, from the first frame to the last | {run.frames} | {run.work_seconds:.1f} | "
        f"{run.frames / run.work_seconds:.1f} |",
    ]
    if other is not None:
        lines.append(
            f"| `ultralytics` {other.version}, `predict` with an untrained `yolo26n-pose` at "
            f"{size}, results as arrays | {other.frames} | {other.seconds:.1f} | "
            f"{other.frames / other.seconds:.1f} |"
        )
    lines += [
        "",
        f"Models took {run.model_share:.0%} of the processor time of this process, decoding, "
        f"resizing, cropping, merging and writing the rest. From the first frame to the last, a "
        f"model ran in {run.busy:.0%} of the time of its copies.",
    ]
    if other is None:
        lines.append("`ultralytics` was not run beside: no `--ultralytics PYTHON` was given.")
    else:
        lines.append(
            f"The weights of `yolo26n-pose` are random, so it found {other.people} people in all "
            "frames; what it computes before that is the same as with trained ones. It ran after "
            "Farpose, in a process and an environment of its own."
        )
    return "\n".join(lines)


def _memory(run: ArchiveRun, minutes: float) -> str:
    sizes = [size for _, size in run.memory]
    return "\n".join(
        [
            "## Memory over a long video",
            "",
            f"The clip repeated to {minutes:.0f} minutes, {run.frames} frames, "
            f"{run.rate:.1f} frames/s. Resident memory, looked at every second:",
            "",
            "| first | median | most | last | growth per hour of video |",
            "|---|---|---|---|---|",
            f"| {sizes[0]:.0f} MiB | {sorted(sizes)[len(sizes) // 2]:.0f} MiB | "
            f"{max(sizes):.0f} MiB | {sizes[-1]:.0f} MiB | "
            f"{run.growth(run.frames / minutes * 60):+.1f} MiB |",
            "",
            "The growth is the slope of a line through all samples but those of the first tenth.",
        ]
    )
