"""Which layers a lower precision harms, and the fewest to leave in FP32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from farpose_export.precision.layers import Layer

SHARE: Final = 0.01
"""A group of layers with less of the whole error than this is not looked into."""

Convert = Callable[[Sequence[Layer]], onnx.ModelProto]
"""The graph in lower precision, but for the given layers."""


@dataclass(frozen=True)
class Blame:
    """What one layer alone does in lower precision."""

    layer: Layer
    error: float
    """In the units of the measure, with all other layers in FP32."""


def blame(
    layers: Sequence[Layer],
    convert: Convert,
    error: Callable[[onnx.ModelProto], float],
) -> list[Blame]:
    """The layers that do harm, worst first.

    Halves the layers again and again, each time with all others in FP32, and follows the halves
    whose error is more than 1 % of the whole. Errors that only several layers make together are
    missed.

    Args:
        layers: all that may be lowered.
        convert: see `Convert`.
        error: how wrong a graph is; not finite values count as worst.
    """
    least = SHARE * _finite(error(convert(())))
    found: list[Blame] = []

    def look(part: Sequence[Layer]) -> None:
        others = [layer for layer in layers if layer not in part]
        value = _finite(error(convert(others)))
        if value <= least:
            return
        if len(part) == 1:
            found.append(Blame(part[0], value))
            return
        middle = len(part) // 2
        look(part[:middle])
        look(part[middle:])

    look(layers)
    return sorted(found, key=lambda one: -one.error)


def fewest_kept(
    ranked: Sequence[Layer], passes: Callable[[Sequence[Layer]], bool]
) -> list[Layer] | None:
    """The shortest beginning of a ranking that passes when it stays in FP32.

    Args:
        ranked: layers, worst first.
        passes: whether a choice of layers to keep is good enough; taken to stay true when more are
            kept.

    Returns:
        None where even all of them are not enough.
    """
    if not passes(ranked):
        return None
    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        if passes(ranked[:middle]):
            high = middle
        else:
            low = middle + 1
    return list(ranked[:high])


def _finite(value: float) -> float:
    return value if value < float("inf") else 1e9  # nan is not below anything
