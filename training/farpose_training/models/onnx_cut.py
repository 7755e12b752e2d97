"""An ONNX graph, cut at named tensors, as a trainable PyTorch module.

Any exported network can serve as a backbone this way: its weights become parameters, the nodes
after the cut are dropped, and the graph without its weights travels inside our checkpoints, so
that a checkpoint can be rebuilt on a machine that never saw the original file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from onnx2torch import convert
from torch import Tensor, nn

MIN_STRIPPED_VALUES = 16
"""Float initializers with fewer values stay in a skeleton: they are constants such as scales."""


class OnnxCutError(ValueError):
    """The ONNX file cannot be cut at the given tensors."""


class OnnxCut(nn.Module):
    """The part of an ONNX graph that computes `outputs` from its first input.

    Args:
        graph: a model whose graph has one image input and exactly the wanted outputs, as `cut`
            makes it.

    Calling it with images `[B,3,H,W]` (normalised as the original network wants them) returns
    one tensor per output, in the order of the cut.
    """

    def __init__(self, graph: onnx.ModelProto) -> None:
        super().__init__()
        self.body = convert(graph)
        self._skeleton = _strip_weights(graph).SerializeToString()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images to the tensors of the cut."""
        outputs = self.body(images)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    @classmethod
    def from_file(
        cls, path: str | Path, outputs: Sequence[str], *, reverse_channels: bool = False
    ) -> OnnxCut:
        """Cut the graph in `path` so that it ends at the tensors named `outputs`.

        Args:
            path: an ONNX file.
            outputs: tensor names.
            reverse_channels: make a network for BGR images take RGB (or the reverse) by reversing
                the weights of its first convolution.

        Raises:
            FileNotFoundError: there is no such file.
            OnnxCutError: a name is not a tensor of the graph.
        """
        graph = cut(onnx.load(str(path)), outputs)
        return cls(_reverse_channels(graph) if reverse_channels else graph)

    @classmethod
    def from_skeleton(cls, skeleton: Tensor) -> OnnxCut:
        """Rebuild the module from `skeleton()`; its weights are zero until a state is loaded."""
        graph = onnx.ModelProto()
        graph.ParseFromString(skeleton.cpu().numpy().tobytes())
        return cls(_fill_weights(graph))

    def skeleton(self) -> Tensor:
        """The graph without its weights, as bytes in a UINT8 tensor for a checkpoint."""
        return torch.frombuffer(bytearray(self._skeleton), dtype=torch.uint8)


def cut(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Keep only the nodes and weights of `model` that `outputs` depend on."""
    produced = {name for node in model.graph.node for name in node.output}
    for name in outputs:
        if name not in produced:
            raise OnnxCutError(
                f"the ONNX graph has no tensor named {name!r}; list its names with "
                "`python -c \"import onnx; print(onnx.load('FILE').graph)\"`"
            )
    needed, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    graph = onnx.helper.make_graph(
        nodes=list(reversed(kept)),
        name="cut",
        inputs=[value for value in model.graph.input if value.name in needed],
        outputs=[
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in outputs
        ],
        initializer=[weight for weight in model.graph.initializer if weight.name in needed],
    )
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _reverse_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    image = model.graph.input[0].name
    for node in model.graph.node:
        if image in node.input:
            if node.op_type != "Conv":
                raise OnnxCutError(
                    f"the image enters a {node.op_type}, not a Conv: its channels stay as they are"
                )
            weight = next(w for w in model.graph.initializer if w.name == node.input[1])
            values = numpy_helper.to_array(weight)[:, ::-1].copy()
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model


def _strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    for weight in stripped.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type == onnx.TensorProto.FLOAT and values.size >= MIN_STRIPPED_VALUES:
            weight.ClearField("raw_data")
            weight.ClearField("float_data")
    return stripped


def _fill_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    for weight in model.graph.initializer:
        if not weight.raw_data and weight.data_type == onnx.TensorProto.FLOAT:
            count = 1
            for size in weight.dims:
                count *= size
            if count >= MIN_STRIPPED_VALUES and not weight.float_data:
                weight.raw_data = bytes(4 * count)
    return model
