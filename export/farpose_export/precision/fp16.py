"""FP16 weights and features; inputs, decoding and outputs stay as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from farpose_export.precision.layers import Layer, decoder_nodes

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def to_fp16(graph: onnx.ModelProto, kept: Iterable[Layer] = ()) -> onnx.ModelProto:
    """A pose graph in half precision; the original is left as it is.

    Args:
        graph: FP32, of `to_onnx`.
        kept: layers that stay in FP32.

    Raises:
        UnknownGraphError: `to_onnx` did not make it.
    """
    return halved(graph, decoder_nodes(graph) + [name for layer in kept for name in layer.nodes])


def halved(graph: onnx.ModelProto, full: Sequence[str]) -> onnx.ModelProto:
    """Any graph in half precision, with FP32 inputs and outputs; the original is left as it is.

    Args:
        graph: FP32.
        full: names of nodes that stay in FP32.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    with warnings.catch_warnings():
        # Weights below the smallest half are cut off with a warning each; the gate measures it.
        warnings.simplefilter("ignore")
        converted = convert_float_to_float16(
            copy,
            keep_io_types=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Resize"],
            node_block_list=list(full),
        )
    return _without_detours(converted)


def _without_detours(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let FP32 nodes read FP32 tensors directly.

    The converter puts a pair of casts, FP32 to FP16 and back, on every tensor between two nodes
    that stay in FP32, which would round what they hand over; and it casts a tensor anew, under the
    same name, for each of its readers.
    """
    halved = {  # FP16 name -> the FP32 tensor that it was made of
        node.output[0]: node.input[0] for node in model.graph.node if _casts_to(node, FLOAT16)
    }
    direct = {
        node.output[0]: halved[node.input[0]]
        for node in model.graph.node
        if _casts_to(node, FLOAT) and node.input[0] in halved
    }
    outputs = {direct[o.name]: o.name for o in model.graph.output if o.name in direct}
    kept: list[onnx.NodeProto] = []
    made: set[str] = set()
    for node in model.graph.node:
        sources = (direct.get(name, name) for name in node.input)
        node.input[:] = [outputs.get(name, name) for name in sources]
        if node.output[0] in outputs:
            node.output[0] = outputs[node.output[0]]
            kept.append(node)
            continue
        if node.output[0] not in direct and node.output[0] not in made:
            kept.append(node)
            made.update(node.output)
    read = {name for node in kept for name in node.input} | {o.name for o in model.graph.output}
    kept = [node for node in kept if not read.isdisjoint(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(_in_order(kept, model.graph))
    del model.graph.value_info[:]  # some name tensors that are gone
    return model


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == kind


def _in_order(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes so that each comes after those it reads; the converter appends its casts at the end."""
    known = {"", *(i.name for i in graph.input), *(w.name for w in graph.initializer)}
    ordered, waiting = [], nodes
    while waiting:
        ready, later = [], []
        for node in waiting:
            if known.issuperset(node.input):
                ready.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if not ready:
            raise ValueError(f"{later[0].name} reads what no node makes")
        ordered += ready
        waiting = later
    return ordered
