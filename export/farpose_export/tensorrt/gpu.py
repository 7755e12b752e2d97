"""The GPUs of this machine, as NVIDIA's own `nvidia-smi` tells them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from farpose_export.tensorrt.manifest import Gpu

QUERY: Final = ("uuid", "name", "compute_cap", "driver_version")

SECONDS: Final = 30.0
"""`nvidia-smi` may take some where no process holds the driver."""


class GpuError(RuntimeError):
    """There is no GPU that can be used, or it is not clear which; the message says what to do."""


@dataclass(frozen=True)
class FoundGpu:
    """One GPU and its identity."""

    uuid: str
    gpu: Gpu


def find_gpus(environment: Mapping[str, str] = os.environ) -> list[FoundGpu]:
    """The GPUs that this process may use, in the order of `nvidia-smi`; none without a driver.

    Args:
        environment: where `CUDA_VISIBLE_DEVICES` may be.

    Raises:
        GpuError: `nvidia-smi` is there and fails, as with a driver that is not loaded, or
            `CUDA_VISIBLE_DEVICES` names no GPU of it.
    """
    if shutil.which("nvidia-smi", path=environment.get("PATH")) is None:
        return []
    text = _ask(environment, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader")
    found = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", _ask(environment))
    cuda = found.group(1) if found else None
    gpus = [
        FoundGpu(uuid, Gpu(name=name, compute_capability=capability, driver=driver, cuda=cuda))
        for uuid, name, capability, driver in csv.reader(text.splitlines(), skipinitialspace=True)
    ]
    return _visible(gpus, environment)


def the_gpu(environment: Mapping[str, str] = os.environ) -> Gpu:
    """The GPU that an engine would be built for.

    Raises:
        GpuError: there is none, or there are different ones and CUDA's order of them is not known.
    """
    gpus = find_gpus(environment)
    if not gpus:
        raise GpuError(
            "there is no NVIDIA GPU here (no nvidia-smi, or it lists none): TensorRT builds an "
            "engine on the GPU that will run it"
        )
    kinds = {(found.gpu.name, found.gpu.compute_capability) for found in gpus}
    if len(kinds) > 1:
        listed = ", ".join(f"{found.gpu.name} ({found.uuid})" for found in gpus)
        raise GpuError(
            f"there are different GPUs here, {listed}, and an engine is for one kind: choose with "
            "CUDA_VISIBLE_DEVICES=UUID"
        )
    return gpus[0].gpu


def _visible(gpus: list[FoundGpu], environment: Mapping[str, str]) -> list[FoundGpu]:
    """Leave those that `CUDA_VISIBLE_DEVICES` names.

    Its numbers follow CUDA's own order unless `CUDA_DEVICE_ORDER` is PCI_BUS_ID; among GPUs of
    different kinds a number says nothing then, and all stay.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    kinds = {found.gpu.name for found in gpus}
    ordered = len(kinds) == 1 or environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    chosen = []
    for entry in filter(None, (part.strip() for part in wanted.split(","))):
        if entry.isdecimal() and not ordered:
            return gpus
        matching = [
            found
            for number, found in enumerate(gpus)
            if (int(entry) == number if entry.isdecimal() else found.uuid.startswith(entry))
        ]
        if not matching:
            raise GpuError(f"CUDA_VISIBLE_DEVICES={wanted} names a GPU that nvidia-smi does not")
        chosen += matching
    return chosen


def _ask(environment: Mapping[str, str], *options: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            ["nvidia-smi", *options],  # noqa: S607 - wherever the driver put it
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GpuError(f"nvidia-smi does not answer: {error}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise GpuError(f"nvidia-smi fails ({said}): is the NVIDIA driver loaded?")
    return done.stdout
