"""What a timing must name: the processor, its cores, and the versions of what runs on it."""

from __future__ import annotations

import platform
import resource
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from farpose.cores import usable_cores

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Machine:
    """The machine a benchmark ran on."""

    processor: str
    cores: int
    """That this process may use."""

    versions: dict[str, str]
    """Of Python and of those of `RUNTIMES` that are installed."""

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.processor}, {self.cores} cores; {versions}"


def this_machine() -> Machine:
    """The machine that this runs on."""
    versions = {"python": platform.python_version()}
    for name in RUNTIMES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(_processor(), usable_cores(), versions)


def peak_memory() -> float:
    """Largest resident size of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
