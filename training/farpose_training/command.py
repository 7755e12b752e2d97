"""`farpose train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farpose_training.config import ConfigError, parse_train_config, read_yaml


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file, see training/configs/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one setting: optimizer.epochs=10.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Train a model; a run that was interrupted goes on where it was.

    Several processes: `torchrun --nproc_per_node=N -m farpose.cli train CONFIG`.
    """
    content = read_yaml(config, overrides or ())
    match content.get("task"):
        case "pose":
            from farpose_training.trainer import train as train_pose

            checkpoint = train_pose(parse_train_config(content))
            if checkpoint is not None:
                typer.echo(str(checkpoint))
        case "person_detector":
            from farpose_training.detection.train import run

            run(content)
        case other:
            raise ConfigError(f"{config}: task is {other!r}, use pose or person_detector")
