"""Devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from farpose_training.config import ConfigError, RuntimeConfig


def start_fabric(config: RuntimeConfig) -> Fabric:
    """Join the processes that `torchrun` started, or be the only one.

    Raises:
        ConfigError: the configured device is not there.
    """
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    elif accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.accelerator: cuda, but PyTorch finds no CUDA device; use cpu")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if accelerator == "cuda" and here > torch.cuda.device_count():
        raise ConfigError(
            f"runtime.accelerator: {here} processes on this machine, but PyTorch finds only "
            f"{torch.cuda.device_count()} CUDA devices"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=here,
        num_nodes=processes // here,
        strategy="ddp" if processes > 1 else "auto",
        plugins=None if config.precision == "32-true" else _Autocast(config.precision, accelerator),
    )
    fabric.launch()
    return fabric


class _Autocast(MixedPrecision):
    """Mixed precision that leaves a batch as it is.

    Lightning's casts all that a module is given. In bfloat16 the joints of a 256x256 crop would be
    rounded to whole pixels.
    """

    def convert_input(self, data: Any) -> Any:
        """The data."""
        return data


def share_of_batch(batch_size: int, processes: int) -> int:
    """Samples of each global batch that one process gets.

    Raises:
        ConfigError: the batch cannot be shared equally, or leaves one sample to each.
    """
    share, rest = divmod(batch_size, processes)
    if rest:
        raise ConfigError(
            f"optimizer.batch_size: {batch_size} samples cannot be shared by {processes} processes"
        )
    if share < 2:
        raise ConfigError(
            f"optimizer.batch_size: {batch_size} over {processes} processes leaves one sample to "
            f"each, on which batch norm cannot train; use at least {2 * processes}"
        )
    return share
