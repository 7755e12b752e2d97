"""Which versions are installed, and whether packages stand in each other's way."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import (
    PackageNotFoundError,
    packages_distributions,
    requires,
    version,
)
from typing import Final

from farpose.extras import how_to_install
from farpose_export.doctor.findings import Finding, note, problem, warning

NAMED: Final = (
    "farpose",
    "numpy",
    "tritonclient",
    "onnx",
    "torch",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
)
"""Packages whose version is told if they are installed."""

SINGLE: Final = {"cv2": "opencv-python-headless", "onnxruntime": "onnxruntime"}
"""Modules that several distributions install, over each other, and the one that Farpose wants."""

GPU_RUNTIME: Final = "onnxruntime-gpu"


def installed_versions(owners: Mapping[str, list[str]] | None = None) -> dict[str, str]:
    """Versions by distribution, of what matters to Farpose.

    Args:
        owners: distributions by module; those of this environment if not given.
    """
    owners = packages_distributions() if owners is None else owners
    names = [*NAMED, *(name for module in SINGLE for name in sorted(set(owners.get(module, ()))))]
    return {name: found for name in names if (found := _version(name)) is not None}


def package_findings(
    owners: Mapping[str, list[str]] | None = None, pins: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """What is wrong with what is installed.

    Args:
        owners: distributions by module; those of this environment if not given.
        pins: exact versions that Farpose asks for; those of its own metadata if not given.
    """
    owners = packages_distributions() if owners is None else owners
    pins = pinned_versions() if pins is None else pins
    for module, wanted in SINGLE.items():
        found = sorted(set(owners.get(module, ())))
        if not found:
            yield problem(module, f"is not installed: {how_to_install('serve')}")
        elif len(found) > 1:
            others = " ".join(name for name in found if name != wanted)
            yield problem(
                module,
                f"{' and '.join(found)} install it over each other: pip uninstall "
                f"{' '.join(found)}, then install Farpose again without {others}",
            )
        else:
            yield from _pinned(found[0], pins)
    if "tritonclient" not in owners:
        yield problem("tritonclient", f"is not installed: {how_to_install('serve')}")


def pinned_versions() -> dict[str, str]:
    """Exact versions in Farpose's own requirements, by distribution."""
    try:
        lines = requires("farpose") or []
    except PackageNotFoundError:
        return {}
    matches = (re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*==\s*([^\s;,]+)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def onnxruntime_providers() -> list[str]:
    """What ONNX Runtime can run on, the preferred first.

    Raises:
        ImportError: it is not installed, or lacks a library.
    """
    runtime = importlib.import_module("onnxruntime")
    return [str(provider) for provider in runtime.get_available_providers()]


def provider_findings(
    providers: list[str], has_gpu: bool, versions: Mapping[str, str]
) -> Iterator[Finding]:
    """Whether ONNX Runtime and the machine's GPU find each other."""
    has_cuda = "CUDAExecutionProvider" in providers
    if GPU_RUNTIME in versions and not has_cuda:
        yield problem(
            GPU_RUNTIME, "has no CUDAExecutionProvider: serve --device cuda will not start"
        )
    elif has_cuda and not has_gpu:
        yield warning(
            GPU_RUNTIME, "there is no GPU here: serve --device cuda will not start, cpu will"
        )
    elif has_gpu and not has_cuda:
        yield note(
            "onnxruntime",
            "runs on the processor; for the GPU pip uninstall onnxruntime, then, "
            f"{how_to_install('serve-gpu')}",
        )


def _pinned(name: str, pins: Mapping[str, str]) -> Iterator[Finding]:
    """OpenCV versions warp differently, so crops would not be those the models were trained on."""
    found = _version(name)
    if name in pins and found is not None and found != pins[name]:
        yield warning(
            name,
            f"is {found}; Farpose is measured with {pins[name]}: pip install {name}=={pins[name]}",
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
