"""`python -m farpose_training.compact CHECKPOINT OUTPUT`: half-precision weights, half the size.

Weights are rounded to FP16, which moves keypoints by hundredths of a pixel; loading gives FP32
again. For checkpoints that are sent or kept, such as a teacher's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from farpose_training.checkpoint import load_model, read_tensors, write_tensors
from farpose_training.module_command import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compact(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint.safetensors of farpose train.")],
    output: Annotated[Path, typer.Argument(help="Where to write the smaller one.")],
) -> None:
    """Write a checkpoint with FP16 weights."""
    load_model(checkpoint)  # refuses what is no model
    tensors, metadata = read_tensors(checkpoint)
    halved = {k: v.half() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    write_tensors(output, halved, metadata)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(app, "farpose_training.compact")
