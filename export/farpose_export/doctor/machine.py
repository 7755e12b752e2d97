"""The processor and memory of this machine, as Linux tells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farpose.benchmarks.machine import this_machine

FEATURES: Final = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
}
"""What the kernel calls the instructions that decide how fast networks run, and their names."""

INT8_FEATURES: Final = frozenset({"AVX512-VNNI", "AVX-VNNI", "AMX-INT8", "DOTPROD", "I8MM"})
"""With one of these, products of INT8 are faster than of FP32; without, hardly or not at all."""


@dataclass(frozen=True)
class Processor:
    """Of this machine, as far as this process may use it."""

    name: str
    cores: int
    features: tuple[str, ...]
    memory_bytes: int | None
    """All of it, or the limit of a container; None where that cannot be read."""

    @property
    def has_int8(self) -> bool:
        """Whether it multiplies INT8 at an advantage."""
        return not INT8_FEATURES.isdisjoint(self.features)

    def text(self) -> str:
        """One line."""
        memory = f", {self.memory_bytes / 2**30:.1f} GiB memory" if self.memory_bytes else ""
        features = ", ".join(self.features) or "no vector instructions known"
        return f"{self.name}, {self.cores} cores{memory}; {features}"


def this_processor(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Processor:
    """The processor that this runs on.

    Args:
        proc: where `cpuinfo` and `meminfo` are.
        cgroup: where a container's `memory.max` is.
    """
    machine = this_machine()
    flags = _flags(proc / "cpuinfo")
    sizes = [size for size in (_memory(proc / "meminfo"), _limit(cgroup / "memory.max")) if size]
    return Processor(
        name=machine.processor,
        cores=machine.cores,
        features=tuple(name for flag, name in FEATURES.items() if flag in flags),
        memory_bytes=min(sizes, default=None),
    )


def _flags(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return set(value.split())
    return set()


def _memory(path: Path) -> int | None:
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            return int(value.split()[0]) * 1024
    return None


def _limit(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None
