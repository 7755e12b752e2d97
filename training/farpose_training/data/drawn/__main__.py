"""`python -m farpose_training.data.drawn`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose_training.config.data import DRAWN_HEIGHTS, LEAST_DRAWN_HEIGHT
from farpose_training.data.drawn.writing import write_procedural
from farpose_training.module_command import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def draw(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist yet.")],
    people: Annotated[int, typer.Option(min=1, help="How many, a picture each.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other people.")] = 0,
    heights: Annotated[
        tuple[float, float],
        typer.Option(min=LEAST_DRAWN_HEIGHT, help="Least and largest height of a person, pixels."),
    ] = DRAWN_HEIGHTS,
) -> None:
    """Draw people with known joints, for trying things out without a download."""
    typer.echo(str(write_procedural(folder, people, seed, heights)))


if __name__ == "__main__":
    run(app, "farpose_training.data.drawn")
