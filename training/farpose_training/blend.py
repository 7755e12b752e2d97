"""`python -m farpose_training.blend START TRAINED OUTPUT`: weights between two checkpoints.

The mean of a network and its fine-tuned successor often keeps what both are good at (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from farpose_training.checkpoint import CheckpointError, load_model, save_model
from farpose_training.config import SimCCConfig
from farpose_training.module_command import run

SCORES: Final = ("loss", "pck_0.2", "pck_0.5")
"""Facts of a training that its blend does not have."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def blend(
    start: Annotated[Path, typer.Argument(help="A checkpoint.safetensors.")],
    trained: Annotated[Path, typer.Argument(help="One that was trained from it.")],
    output: Annotated[Path, typer.Argument(help="Where to write the blend.")],
    part: Annotated[float, typer.Option(min=0, max=1, help="Of the way to the trained one.")] = 0.5,
) -> None:
    """Write start + part x (trained - start); so wide, in bins, its labels are held to be, too."""
    one, other = load_model(start), load_model(trained)
    weights, target = one.model.state_dict(), other.model.state_dict()
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    if shapes != {name: tensor.shape for name, tensor in target.items()}:
        raise CheckpointError(f"{start} and {trained} are different networks")
    for name, tensor in target.items():
        if tensor.is_floating_point():
            tensor.lerp_(weights[name], 1 - part)
    head = other.model.config.head
    if isinstance(head, SimCCConfig) and isinstance(one.model.config.head, SimCCConfig):
        # Scores are peaks in parts of the label's own.
        sigma = one.model.config.head.sigma + part * (head.sigma - one.model.config.head.sigma)
        head = head.model_copy(update={"sigma": sigma})
    # What is saved; the head in memory is not asked any more.
    other.model.config = other.model.config.model_copy(update={"head": head})
    facts = {name: value for name, value in other.facts.items() if name not in SCORES}
    facts["blend"] = f"{part:g} of the way from the weights it was trained from"
    output.parent.mkdir(parents=True, exist_ok=True)
    save_model(output, other.model, other.keypoint_set, facts)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(app, "farpose_training.blend")
