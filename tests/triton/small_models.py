"""Tiny ONNX models in a repository of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

INTEGER, FLOAT, TEXT = TensorProto.INT64, TensorProto.FLOAT, TensorProto.STRING
Tensor = tuple[str, int, Sequence[int | str]]


def graph(
    nodes: Sequence[Sequence[Any]],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: dict[str, Any] | None = None,
    **attributes: Any,
) -> bytes:
    """An ONNX file: nodes are (operator, inputs, outputs), tensors (name, type, shape)."""
    proto = helper.make_graph(
        [helper.make_node(*node, **attributes) for node in nodes],
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(proto, ir_version=9, opset_imports=opsets).SerializeToString()


def identity(data_type: int = FLOAT, shape: Sequence[int | str] = ("N", "K")) -> bytes:
    """The input `x` as the output `y`."""
    return graph([("Identity", ["x"], ["y"])], [("x", data_type, shape)], [("y", data_type, shape)])


def config(
    data_type: str = "TYPE_FP32",
    dims: str = "[ -1 ]",
    batch: int = 8,
    more: str = "",
    *,
    x: str = "",
    y: str = "",
) -> str:
    """The text of a `config.pbtxt`: an input `x` and an output `y` of this type, and `more`.

    Args:
        x: more of the input.
        y: what the output is instead of the input's type and sizes.
    """
    tensor = f"data_type: {data_type} dims: {dims}"
    if "instance_group" not in more:
        more += " instance_group { kind: KIND_CPU count: 1 }"  # of itself, Triton makes two
    return f"""
        backend: "onnxruntime"
        max_batch_size: {batch}
        input [ {{ name: "x" {tensor} {x} }} ]
        output [ {{ name: "y" {y or tensor} }} ]
        {more}
    """


def add_model(
    repository: Path, name: str, content: bytes, text: str, *, path: str = "1/model.onnx"
) -> None:
    """Write one version of a model."""
    file = repository / name / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    (repository / name / "config.pbtxt").write_text(text)
