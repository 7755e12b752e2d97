"""A pose graph as a row of layers, each of which can have its own precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import onnx

WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that a layer begins with."""

DECODER: Final = "/decoder/"
"""Nodes whose names begin so make keypoints of the head's answer; they always stay in FP32, as a
position needs more bits than a feature."""


LONG_SUM: Final = 576
"""Terms in each sum of a 3x3 convolution of 64 channels. ONNX Runtime's integer kernels gain most
on sums of this length; on short ones, as of depthwise convolutions, they lose."""


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
    found = [name for name in _names(graph) if name.startswith(DECODER)]
    if not found:
        raise UnknownGraphError(f"the graph has no nodes named {DECODER}...")
    return found


def tail_nodes(graph: onnx.ModelProto) -> list[str]:
    """Names of a detector's nodes after which no weighted operator comes.

    They make boxes of the last convolutions' answers, sort and suppress them, and stay in FP32 as a
    decoder does.

    Raises:
        UnknownGraphError: its nodes have no names.
    """
    _names(graph)
    needed: set[str] = set()  # tensors that reach a weight
    found = []
    for node in reversed(graph.graph.node):
        if node.op_type in WEIGHTED or not needed.isdisjoint(node.output):
            needed.update(node.input)
        else:
            found.append(node.name)
    return found[::-1]


def _names(graph: onnx.ModelProto) -> list[str]:
    names = [node.name for node in graph.graph.node]
    if not all(names) or len(set(names)) != len(names):
        raise UnknownGraphError("the graph has nodes without a name of their own")
    return names


def long_sums(graph: onnx.ModelProto) -> set[str]:
    """Names of convolutions and products that add up `LONG_SUM` terms or more for each value."""
    shapes = {weight.name: tuple(weight.dims) for weight in graph.graph.initializer}
    found = set()
    for node in graph.graph.node:
        if node.op_type not in ("Conv", "MatMul") or node.input[1] not in shapes:
            continue
        weight = shapes[node.input[1]]  # [out,in,h,w] of a convolution, [in,out] of a product
        terms = math.prod(weight[1:]) if node.op_type == "Conv" else weight[0]
        if terms >= LONG_SUM:
            found.add(node.name)
    return found
