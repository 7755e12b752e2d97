"""A pose graph as a row of layers, each of which can have its own precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx

WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that a layer begins with."""

DECODER: Final = "/decoder/"
"""Nodes whose names begin so make keypoints of the head's answer; they always stay in FP32, as a
position needs more bits than a feature."""


class UnknownGraphError(ValueError):
    """A graph that `farpose export` did not make."""


@dataclass(frozen=True)
class Layer:
    """One weighted operator and what follows it up to the next."""

    name: str
    """Of the weighted node; of the first node for what comes before all weights."""

    nodes: tuple[str, ...]
    """Names, in the graph's order."""


def layers_of(graph: onnx.ModelProto) -> list[Layer]:
    """The layers of a pose graph in its order, without the decoder.

    Raises:
        UnknownGraphError: its nodes have no names, or no decoder is among them.
    """
    decoder_nodes(graph)
    groups: list[list[str]] = []
    for node in graph.graph.node:
        if node.name.startswith(DECODER):
            continue
        if not groups or node.op_type in WEIGHTED:
            groups.append([])
        groups[-1].append(node.name)
    return [Layer(group[0], tuple(group)) for group in groups]


def decoder_nodes(graph: onnx.ModelProto) -> list[str]:
    """Names of the decoder's nodes; `UnknownGraphError` if there are none."""
    names = [node.name for node in graph.graph.node]
    if not all(names) or len(set(names)) != len(names):
        raise UnknownGraphError("the graph has nodes without a name of their own")
    found = [name for name in names if name.startswith(DECODER)]
    if not found:
        raise UnknownGraphError(f"the graph has no nodes named {DECODER}...")
    return found
