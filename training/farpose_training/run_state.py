"""The state of an unfinished run: one safetensors file that is replaced atomically.

Only one run at a time works in a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from farpose_training.checkpoint import CheckpointError, load_state, read_tensors, write_tensors
from farpose_training.config import ConfigError, TrainConfig, parse_train_config
from farpose_training.locks import locked

FREE_FIELDS = ("output", "runtime", "threads", "evaluate_every")
"""Settings that may change when a run is resumed: none of them changes what is learned."""


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Make a run's folder and keep other runs out of it, in the first of its processes.

    Raises:
        ConfigError: another run is at work there.
    """
    output.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", "0")):  # as torchrun numbers them
        yield
        return
    busy = ConfigError(
        f"output: another farpose train is at work in {output}; wait until it has ended, or name "
        "another folder"
    )
    with locked(output / "lock", busy):
        yield


def save_run(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    metadata: dict[str, str],
) -> None:
    """Write all that a run needs to go on.

    Args:
        path: replaced, or left as it was.
        modules: by name, without dots.
        optimizers: in an order that stays the same.
        metadata: anything else, as text.
    """
    content: dict[str, Tensor] = {}
    for name, module in modules.items():
        content |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for index, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            content |= {
                f"optimizer.{index}.{parameter}.{field}": value
                for field, value in state.items()
                if value is not None
            }
    write_tensors(path, content, metadata)


def load_run(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, str]:
    """Restore what `save_run` wrote, and return its metadata.

    Raises:
        CheckpointError: the file is missing, damaged or does not fit.
    """
    tensors, metadata = read_tensors(path)
    for name, module in modules.items():
        load_state(module, _below(tensors, f"{name}."), path)
    for index, optimizer in enumerate(optimizers):
        _load_optimizer(optimizer, _below(tensors, f"optimizer.{index}."), path)
    return metadata


def refuse_other_settings(path: Path, stored: str | None, config: TrainConfig) -> None:
    """Refuse to go on with a run that was started with other settings.

    Args:
        path: the run's state, named in the error.
        stored: the settings it was started with, as JSON.
        config: those it is to go on with.

    Raises:
        ConfigError: they differ in a setting that changes what is learned.
        CheckpointError: the state holds no settings that this version knows.
    """
    try:
        before = parse_train_config(json.loads(stored or "{}")).model_dump(mode="json")
    except ConfigError as error:
        raise CheckpointError(
            f"{path}: the state of a run of another version of Farpose; finish it with that "
            f"version, or use another output folder ({error})"
        ) from error
    now = config.model_dump(mode="json")
    for name in FREE_FIELDS:
        del before[name], now[name]
    old, new = dict(_leaves(before)), dict(_leaves(now))
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if differing:
        changes = ", ".join(
            f"{key} was {json.dumps(old.get(key))} and is {json.dumps(new.get(key))}"
            for key in differing
        )
        raise ConfigError(
            f"{path} belongs to a run with other settings: {changes}; use another output folder, "
            "or delete this one"
        )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its dotted name."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in items:
        name = f"{path}.{key}" if path else str(key)
        if isinstance(below, dict | list):
            yield from _leaves(below, name)
        else:
            yield name, below


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: Path
) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, field = key.split(".", 1)
        index = int(place)
        if index >= len(parameters):
            raise CheckpointError(f"{path}: holds more parameters than the model")
        if value.shape == parameters[index].shape and value.ndim:
            # In the parameter's memory layout, as it was made: updates are slow across layouts.
            value = torch.empty_like(parameters[index], device="cpu").copy_(value)
        state.setdefault(index, {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
