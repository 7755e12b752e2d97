"""What an ONNX graph says of its tensors."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray


class Tensors:
    """Types, constants, and which tensors are the graph's own inputs and outputs.

    Args:
        graph: after shape inference, which tells the types.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.types: dict[str, int] = {}
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.add(graph)
        self.inputs = {value.name for value in graph.input} - self.constants.keys()
        self.outputs = {value.name for value in graph.output}

    def add(self, graph: onnx.GraphProto) -> None:
        """Those of a graph, or of one inside a node."""
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.types[value.name] = value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            self.types[tensor.name] = tensor.data_type
            self.constants[tensor.name] = onnx.numpy_helper.to_array(tensor)
        for node in graph.node:
            value = _value(node) if node.op_type == "Constant" else None
            if value is not None:
                self.types[node.output[0]] = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                self.constants[node.output[0]] = value

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[np.generic] | None:
        """The value of an input that the graph holds; None for one that is computed."""
        return self.constants.get(node.input[index])


def _value(node: onnx.NodeProto) -> NDArray[np.generic] | None:
    """What a `Constant` holds; None for texts and sparse tensors."""
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return np.asarray(onnx.numpy_helper.to_array(value))
        case "value_float" | "value_floats":
            return np.asarray(value, np.float32)
        case "value_int" | "value_ints":
            return np.asarray(value, np.int64)
    return None
