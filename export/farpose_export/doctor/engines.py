"""Whether a TensorRT engine will load here, from its manifest: nothing of TensorRT is imported."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from farpose_export.doctor.findings import Finding, note, problem, warning
from farpose_export.tensorrt.manifest import (
    MANIFEST_FILE,
    PLAN_FILE,
    EngineManifest,
    Gpu,
    ManifestError,
)

LIBRARY_FOLDERS: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/tensorrt/lib",
    "/usr/local/tensorrt/targets/x86_64-linux-gnu/lib",
)
"""Where NVIDIA's packages and containers put `libnvinfer.so`, beside `LD_LIBRARY_PATH`."""

PACKAGES: Final = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")

AGAIN: Final = "build the engine again here with farpose export-engine"


@dataclass(frozen=True)
class EngineHost:
    """What would load an engine."""

    gpus: Sequence[Gpu]
    tensorrt: Mapping[str, str]
    """Versions, by where they were found."""

    triton: str | None
    """The release of the Triton container that this runs in."""


def tensorrt_versions(
    environment: Mapping[str, str] = os.environ, folders: Sequence[str] = LIBRARY_FOLDERS
) -> dict[str, str]:
    """The TensorRT versions of this machine, by library file or Python package."""
    found = {}
    for folder in (*environment.get("LD_LIBRARY_PATH", "").split(os.pathsep), *folders):
        for path in sorted(Path(folder).glob("libnvinfer.so.*")) if folder else ():
            match = re.fullmatch(r"libnvinfer\.so\.(\d+\.\d+\.\d+)", path.name)
            if match:
                found[str(path)] = match[1]
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def engine_findings(subject: str, folder: Path, host: EngineHost) -> Iterator[Finding]:
    """What speaks against loading an engine.

    Args:
        subject: what to call it.
        folder: the version, with `model.plan` and `engine.json`.
        host: what would load it.
    """
    plan = folder / PLAN_FILE
    if not plan.is_file():
        yield problem(subject, f"has no {PLAN_FILE}: {AGAIN}")
        return
    try:
        manifest = EngineManifest.load(folder / MANIFEST_FILE)
    except ManifestError as error:
        yield warning(subject, f"nothing is known of its engine: {error}")
        return
    if hashlib.sha256(plan.read_bytes()).hexdigest() != manifest.plan_sha256:
        yield problem(
            subject, f"{PLAN_FILE} is not the file that {MANIFEST_FILE} is about: {AGAIN}"
        )
    yield from _gpus(subject, manifest.gpu, host.gpus)
    yield from _tensorrt(subject, manifest, host)


def _gpus(subject: str, built: Gpu, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    described = f"{built.name} (compute capability {built.compute_capability})"
    if not gpus:
        yield problem(subject, f"is an engine for {described} and there is no GPU here")
        return
    fitting = [gpu for gpu in gpus if gpu.compute_capability == built.compute_capability]
    if not fitting:
        listed = ", ".join(sorted({f"{g.name} ({g.compute_capability})" for g in gpus}))
        yield problem(subject, f"is for {described} and will not load on {listed}: {AGAIN}")
        return
    if len(fitting) < len(gpus):
        yield warning(
            subject,
            f"is for {described}, and some GPUs here are others: list the fitting ones as `gpus` "
            "of instance_group in its config.pbtxt",
        )
    if all(gpu.name != built.name for gpu in fitting):
        yield warning(
            subject,
            f"was built on {built.name}; {fitting[0].name} has its compute capability, but "
            f"TensorRT promises neither speed nor success: {AGAIN}",
        )
    if any(_numbers(gpu.driver) < _numbers(built.driver) for gpu in fitting):
        yield warning(
            subject,
            f"was built under driver {built.driver}, here is the older {fitting[0].driver}: if it "
            "does not load, update the driver",
        )


def _tensorrt(subject: str, manifest: EngineManifest, host: EngineHost) -> Iterator[Finding]:
    """An engine loads in the version that built it, down to the patch."""
    if host.tensorrt:
        wanted = _numbers(manifest.tensorrt)[:3]
        if all(_numbers(found)[:3] != wanted for found in host.tensorrt.values()):
            listed = ", ".join(f"{found} ({where})" for where, found in host.tensorrt.items())
            yield problem(
                subject,
                f"is of TensorRT {manifest.tensorrt} and will not load with {listed}: {AGAIN}, or "
                f"use {_container(manifest)}",
            )
    elif host.triton is not None and host.triton == manifest.triton:
        return
    elif host.triton is not None and manifest.triton is not None:
        yield warning(
            subject,
            f"was built in Triton's container {manifest.triton}, this is {host.triton}: it loads "
            f"only if both have TensorRT {manifest.tensorrt}",
        )
    else:
        yield note(
            subject,
            f"wants TensorRT {manifest.tensorrt}, and there is none here to compare with: run "
            "farpose doctor in the container that will serve it",
        )


def _container(manifest: EngineManifest) -> str:
    if manifest.triton is not None:
        return f"Triton's container {manifest.triton}"
    return f"a Triton container that has TensorRT {manifest.tensorrt}"


def _numbers(version_text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version_text)))
