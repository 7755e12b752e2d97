"""Whether TensorRT's ONNX parser takes a graph, without TensorRT.

The parser publishes which operators it reads, and of which types. That list is
`operators.json`; restrictions that go beyond types are in `restrictions.py`. The parser itself has
the last word: a graph that passes here may still fail there, as sizes and combinations of operators
are not looked at.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import onnx
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from farpose_export.tensorrt.restrictions import RESTRICTIONS
from farpose_export.tensorrt.tensors import Tensors

TYPE_NAMES: Final = {
    TensorProto.FLOAT: "FP32",
    # Read as FP32, with values clamped.
    TensorProto.DOUBLE: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
}
"""What the list calls ONNX's types, where the names differ."""

HALF_OR_FLOAT: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True)
class OperatorList:
    """What a version of TensorRT's parser reads."""

    tensorrt: str
    source: str
    min_opset: int
    max_opset: int
    types: dict[str, frozenset[str] | None]
    """By operator; None for one that is not read."""


@dataclass(frozen=True)
class Unsupported:
    """One node that TensorRT does not take."""

    node: str
    """Its name, or that of its first output where it has none."""

    operator: str
    reason: str

    def text(self) -> str:
        """One line."""
        return f"{self.operator} {self.node!r} {self.reason}"


@functools.cache
def operator_list() -> OperatorList:
    """The stored list."""
    content = json.loads((files(__package__) / "operators.json").read_text())
    return OperatorList(
        tensorrt=content["tensorrt"],
        source=content["source"],
        min_opset=content["min_opset"],
        max_opset=content["max_opset"],
        types={
            name: None if types is None else frozenset(types)
            for name, types in content["operators"].items()
        },
    )


def unsupported(graph: onnx.ModelProto) -> list[Unsupported]:
    """The nodes that TensorRT's parser refuses, by its published list.

    Types are those that ONNX infers; a tensor whose type is not known is not judged.

    Args:
        graph: a model with its weights; it is left as it is.

    Raises:
        onnx.shape_inference.InferenceError: the graph contradicts itself.
    """
    model = inline_local_functions(graph)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    known = operator_list()
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if not known.min_opset <= opset <= known.max_opset:
        reason = f"is not read: opsets {known.min_opset} to {known.max_opset} are"
        return [Unsupported(f"opset {opset}", "graph", reason)]
    return list(_Walk(model.graph, opset).findings(model.graph))


class _Walk:
    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self._tensors = Tensors(graph)
        self._opset = opset

    def findings(self, graph: onnx.GraphProto) -> Iterator[Unsupported]:
        """Of a graph's nodes and of the graphs inside them."""
        for node in graph.node:
            for reason in self._reasons(node):
                yield Unsupported(node.name or node.output[0], node.op_type, reason)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    if inner.node:
                        self._tensors.add(inner)
                        yield from self.findings(inner)

    def _reasons(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.domain not in {"", "ai.onnx"}:
            yield f"is of the domain {node.domain}, which TensorRT does not read"
            return
        types = operator_list().types.get(node.op_type)
        if types is None:
            yield f"is not read by TensorRT {operator_list().tensorrt}"
            return
        found = {self._type(name) for name in self._judged(node)} - {None}
        for name in sorted(str(name) for name in found - types):
            yield f"works on {name}; TensorRT takes {', '.join(sorted(types))}"
        if node.op_type in {"Cast", "CastLike"}:
            yield from self._uint8(node)
        restriction = RESTRICTIONS.get(node.op_type)
        if restriction is not None:
            yield from restriction(node, self._tensors)

    def _judged(self, node: onnx.NodeProto) -> list[str]:
        """The tensors that the list's types are about: not, for one, indices or shapes."""
        if node.op_type in {"Cast", "CastLike"}:
            return [node.input[0], node.output[0]]
        if node.op_type == "Where":
            return list(node.input[1:])
        schema = onnx.defs.get_schema(node.op_type, self._opset)
        if not schema.inputs or node.op_type == "ConstantOfShape":
            return [node.output[0]]
        kinds = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(node.input))]
        first = schema.inputs[0].type_str
        return [
            name for name, kind in zip(node.input, kinds, strict=True) if kind.type_str == first
        ]

    def _type(self, name: str) -> str | None:
        number = self._tensors.types.get(name, TensorProto.UNDEFINED)
        if number == TensorProto.UNDEFINED:
            return None
        return str(TYPE_NAMES.get(number, TensorProto.DataType.Name(number)))

    def _uint8(self, node: onnx.NodeProto) -> Iterator[str]:
        """UINT8 is a type of inputs and outputs of the network, which a Cast makes FP32 or FP16."""
        tensors = self._tensors
        source, target = (tensors.types.get(n) for n in (node.input[0], node.output[0]))
        if source == TensorProto.UINT8:
            if node.input[0] not in tensors.inputs:
                yield "reads UINT8 inside the graph; TensorRT has it at the graph's inputs alone"
            if target not in HALF_OR_FLOAT:
                yield "makes UINT8 something else than FP32 or FP16"
        if target == TensorProto.UINT8:
            if node.output[0] not in tensors.outputs:
                yield "makes UINT8 inside the graph; TensorRT has it at the graph's outputs alone"
            if source not in HALF_OR_FLOAT:
                yield "makes UINT8 of something else than FP32 or FP16"
