"""Assembling an ONNX graph node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

PREFIX = "farpose_"
"""Keeps our tensor names apart from those of the graph that is extended."""


class GraphBuilder:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add a constant, or find it again: one name stands for one value.

        Raises:
            ValueError: the name already stands for another value.
        """
        full_name = PREFIX + name
        tensor = numpy_helper.from_array(np.asarray(value), full_name)
        if self.constants.setdefault(full_name, tensor) != tensor:
            raise ValueError(f"the graph has another constant named {name}")
        return full_name

    def add(
        self,
        operator: str,
        *inputs: str,
        outputs: int = 1,
        output: tuple[str, ...] = (),
        **attributes: Any,
    ) -> Any:
        """Append a node and return its output's name, or a tuple of names if it has several.

        They are `output` if that is given, else `outputs` names made from operator and position.
        """
        stem = f"{PREFIX}{operator}_{len(self.nodes)}"
        names = output or tuple(f"{stem}_{index}" for index in range(outputs))
        self.nodes.append(helper.make_node(operator, inputs, names, name=stem, **attributes))
        return names[0] if len(names) == 1 else names
