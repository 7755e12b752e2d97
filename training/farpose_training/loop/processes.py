"""Devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from tqdm import tqdm

from farpose_training.config import ConfigError, RuntimeConfig

# As `torch.cpu.get_capabilities` names them, of x86 and ARM.
_BFLOAT16_INSTRUCTIONS: Final = ("avx512_bf16", "amx_bf16", "bf16")
_NAMES: Final = {"cpu": "processor", "cuda": "GPU"}


def start_fabric(config: RuntimeConfig) -> Fabric:
    """Join the processes that `torchrun` started, or be the only one.

    Raises:
        ConfigError: the configured device is not there.
    """
    accelerator = accelerator_on(config.accelerator)
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
        plugins=_plugin(accelerator, config.precision),
    )
    fabric.launch()
    return fabric


def accelerator_on(accelerator: str) -> str:
    """The accelerator that a configured one stands for: `cpu` or `cuda`.

    Raises:
        ConfigError: it is not there.
    """
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.accelerator: cuda, but PyTorch finds no CUDA device; use cpu")
    return accelerator


def multiplies_bfloat16(accelerator: str) -> bool:
    """Whether the device has instructions for it; where PyTorch emulates it, it is slow.

    A PyTorch that cannot tell of a processor (before 2.11) counts as one without.
    """
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name, False) for name in _BFLOAT16_INSTRUCTIONS)


def precision_on(accelerator: str, precision: str) -> str:
    """The precision that a configured one stands for: `32-true` or `bf16-mixed`."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if multiplies_bfloat16(accelerator) else "32-true"


def _plugin(accelerator: str, precision: str) -> _Autocast | None:
    if precision_on(accelerator, precision) == "32-true":
        return None
    if not multiplies_bfloat16(accelerator):
        tqdm.write(
            f"runtime.precision: {precision}, but this {_NAMES[accelerator]} has no instructions "
            "for bfloat16: training can be many times slower than with 32-true or auto",
            file=sys.stderr,
        )
    return _Autocast("bf16-mixed", accelerator)


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
