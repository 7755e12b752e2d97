"""A pose network as one ONNX graph: crops in, keypoints out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping

import onnx
import torch
from torch import Tensor, nn

from farpose_training.models.network import PoseNet, build_decoder

OPSET = 17
"""Every operator used is in it, and NVIDIA's containers from 24.12 take up to 20."""

OUTPUTS = ("keypoints", "scores", "variances")


class ExportedPose(nn.Module):
    """Network and decoder in one: the contract of a pose model."""

    def __init__(self, model: PoseNet) -> None:
        super().__init__()
        self.model = model
        self.decoder = build_decoder(model.config)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Crops `[N,R,R,3]` UINT8 to keypoints `[N,J,2]`, scores `[N,J]`, variances `[N,J,2]`."""
        return self.decoder(self.model(crops))  # type: ignore[no-any-return]


def to_onnx(model: PoseNet, joints: int, facts: Mapping[str, str]) -> onnx.ModelProto:
    """Freeze a network with its normalisation and decoding.

    Args:
        model: in eval mode.
        joints: `J`.
        facts: written into the graph's `metadata_props`.
    """
    resolution = model.config.resolution
    example = torch.zeros(2, resolution, resolution, 3, dtype=torch.uint8)
    names = ("crops", *OUTPUTS)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The torch.export-based exporter cannot trace onnx2torch's Resize, whose scales are a
        # tensor; the tracing one can, and says that it is deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ExportedPose(model).eval(),
            (example,),
            buffer,
            input_names=["crops"],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "N"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = _without_identities(onnx.load_from_string(buffer.getvalue()))
    shapes = {"keypoints": (joints, 2), "scores": (joints,), "variances": (joints, 2)}
    for output in graph.graph.output:
        for axis, size in enumerate(shapes[output.name], start=1):
            output.type.tensor_type.shape.dim[axis].Clear()
            output.type.tensor_type.shape.dim[axis].dim_value = size
    return with_facts(graph, facts)


def with_facts(graph: onnx.ModelProto, facts: Mapping[str, str]) -> onnx.ModelProto:
    """The graph with its `metadata_props` replaced by these, checked."""
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, dict(facts))
    onnx.checker.check_model(graph)
    return graph


def _without_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let nodes that share a weight read it directly, not through a copy."""
    weights = {weight.name for weight in model.graph.initializer}
    copies = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    kept = [node for node in model.graph.node if node.output[0] not in copies]
    for node in kept:
        node.input[:] = [copies.get(name, name) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
