"""`farpose bench tracking`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose.benchmarks.machine import this_machine
from farpose.benchmarks.tracking import measure, read_clip, table
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository


def tracking(
    clip: Annotated[Path, typer.Argument(help="A video file of one fixed camera.")],
    detect_every: Annotated[
        list[int] | None, typer.Option(min=1, help="To compare; 1, 2, 3, 5 and 10 if not given.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=3, help="The first so many; all of them if not given.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A Markdown file to write too.")] = None,
) -> None:
    """What detecting less saves on a clip, and what it costs."""
    from farpose.engines.onnxruntime import OnnxRuntimeEngine

    read, rate = read_clip(clip, pictures)
    settings = [(every, False) for every in detect_every or (1, 2, 3, 5, 10)]
    settings += [(every, True) for every in (1, 3) if (every, False) in settings]
    with OnnxRuntimeEngine(default_repository()) as engine:
        rows = measure(PosePipeline(engine), read, rate, settings)
    text = (
        f"{clip.name}, {len(read)} pictures, {rate:g} a second; {this_machine()}\n\n{table(rows)}\n"
    )
    typer.echo(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
