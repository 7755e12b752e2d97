"""Restrictions of TensorRT's parser beyond types, for the operators that networks on images have.

Source: the last column of the list that `operators.json` names. Of recurrent, attention and signal
operators only the types are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto

from farpose_export.tensorrt.tensors import Tensors

MAX_TOP_K: Final = 3840

RESIZE_CHOICES: Final[dict[str, set[str] | set[int]]] = {
    "mode": {"nearest", "linear"},
    "coordinate_transformation_mode": {
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    },
    "nearest_mode": {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"},
    "keep_aspect_ratio_policy": {"stretch"},
    "antialias": {0},
}


Restriction = Callable[[onnx.NodeProto, Tensors], Iterator[str]]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def _has_input(node: onnx.NodeProto, index: int) -> bool:
    return len(node.input) > index and bool(node.input[index])


def _constant_input(index: int, name: str) -> Restriction:
    def check(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
        if _has_input(node, index) and tensors.constant(node, index) is None:
            yield f"computes its {name}; TensorRT wants a constant"

    return check


def _first_output_only(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    if any(node.output[1:]):
        yield f"has the output {next(filter(None, node.output[1:]))!r}; TensorRT has the first only"


def _pool(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    attributes = _attributes(node)
    if len(attributes["kernel_shape"]) not in {2, 3}:
        yield f"pools over {len(attributes['kernel_shape'])} dimensions; TensorRT over 2 or 3"
    if any(dilation != 1 for dilation in attributes.get("dilations", ())):
        yield "pools with dilation, which TensorRT does not"
    yield from _first_output_only(node, tensors)


def _dropout(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    if _has_input(node, 2):
        training = tensors.constant(node, 2)
        if training is None or training.any():
            yield "may be in training mode, which TensorRT does not know"


def _zero_point(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    """Quantisation is symmetric, to signed integers."""
    if _has_input(node, 2):
        zero = tensors.constant(node, 2)
        if zero is None or np.any(zero.astype(np.float32) != 0):
            yield "has a zero point that is not 0; TensorRT quantises symmetrically"
    integers = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    if node.op_type == "QuantizeLinear" and tensors.types.get(integers) == TensorProto.UINT8:
        yield "quantises to UINT8; TensorRT takes INT8"


def _resize(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    attributes = _attributes(node)
    for name, allowed in RESIZE_CHOICES.items():
        if name == "nearest_mode" and attributes.get("mode", "nearest") != "nearest":
            continue
        if name in attributes and attributes[name] not in allowed:
            yield f"has {name} {attributes[name]!r}; TensorRT has {sorted(allowed, key=str)}"


def _scatter_nd(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    reduction = _attributes(node).get("reduction", "none")
    if reduction != "none":
        yield f"has the reduction {reduction!r}; TensorRT has none"


def _top_k(node: onnx.NodeProto, tensors: Tensors) -> Iterator[str]:
    if _attributes(node).get("sorted", 1) != 1:
        yield "does not sort; TensorRT always does"
    k = tensors.constant(node, 1)
    if k is not None and int(k.item()) >= MAX_TOP_K:
        yield f"takes {int(k.item())} elements; TensorRT takes fewer than {MAX_TOP_K}"


REDUCTIONS: Final = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)

RESTRICTIONS: Final[dict[str, Restriction]] = {
    **dict.fromkeys(REDUCTIONS, _constant_input(1, "axes")),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _zero_point),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), _constant_input(1, "axes")),
    "CumSum": _constant_input(1, "axis"),
    "Dropout": _dropout,
    "LayerNormalization": _first_output_only,
    "OneHot": _constant_input(1, "depth"),
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
"""By operator: what speaks against a node, each a part of a sentence."""
