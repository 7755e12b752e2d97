"""Writes the detector's ONNX contract around its cut graph.

`images` UINT8 `[B,H,W,3]` -> `boxes` FP32 `[B,100,4]`, `scores` FP32 `[B,100]`: normalisation in
front of the network, decoding and suppression behind it, so that no caller ever sees
a logit. The graph is assembled node by node rather than traced: what runs is what stands here.

Shapes: B batch, H W input height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from farpose_training.detection.graph import GraphBuilder
from farpose_training.detection.model import MEAN_RGB, STD_RGB, STRIDES, PersonDetector
from farpose_training.detection.tail import DETECTIONS, NMS_IOU, SCORE_FLOOR, append_tail

OPSET, IR_VERSION = 17, 8
"""Old enough for the ONNX Runtime of Triton 24.12."""


def build_onnx(model: PersonDetector, facts: Mapping[str, str]) -> onnx.ModelProto:
    """The served graph with the weights of `model`; `facts` go to its metadata.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX.
    """
    skeleton = onnx.ModelProto()
    skeleton.ParseFromString(model.network.skeleton().numpy().tobytes())
    network = skeleton.graph
    weights = _trained_weights(network, model)
    build = GraphBuilder()
    _append_input(build, network, weights)
    build.nodes.extend(network.node)
    append_tail(build)
    for name, value in weights.items():
        build.constants[name] = numpy_helper.from_array(value, name)
    for weight in network.initializer:
        build.constants.setdefault(weight.name, weight)
    graph = helper.make_graph(
        nodes=build.nodes,
        name="person_detector",
        inputs=[helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3])],
        outputs=[
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["B", DETECTIONS, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", DETECTIONS]),
        ],
        initializer=list(build.constants.values()),
    )
    exported = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="farpose",
    )
    settings = {
        "nms_iou": str(NMS_IOU),
        "score_floor": str(SCORE_FLOOR),
        "max_detections": str(DETECTIONS),
        "input_multiple": str(max(STRIDES)),
        "letterbox_padding": "114",
    }
    helper.set_model_props(exported, {**facts, **settings})
    onnx.checker.check_model(exported, full_check=True)
    return exported


def write_onnx(model: PersonDetector, path: str | Path, facts: Mapping[str, str]) -> None:
    """Build the served graph and write it to `path`, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build_onnx(model, facts).SerializeToString())


def _trained_weights(
    network: onnx.GraphProto, model: PersonDetector
) -> dict[str, NDArray[np.float32]]:
    """Initializer name -> value, from the module that stands for each convolution."""
    state = model.network.state_dict()
    weights = {}
    for node in network.node:
        if node.op_type == "Conv":
            for name, part in zip(node.input[1:], ("weight", "bias"), strict=True):
                weights[name] = state[f"body.{node.name}.{part}"].numpy(force=True)
    return weights


def _append_input(
    build: GraphBuilder, network: onnx.GraphProto, weights: dict[str, NDArray[np.float32]]
) -> None:
    """Cast, transpose and mean; scale and channel order go into the first convolution.

    The mean is not folded: the convolution pads its input with zeros, which must mean "mean".
    """
    x = build.add("Cast", "images", to=TensorProto.FLOAT)
    x = build.add("Transpose", x, perm=[0, 3, 1, 2])
    mean = build.constant("mean", np.array(MEAN_RGB, np.float32).reshape(1, 3, 1, 1))
    build.add("Sub", x, mean, output=(network.input[0].name,))
    first = network.node[0]
    if first.op_type != "Conv" or network.input[0].name != first.input[0]:
        raise ValueError(f"the network starts with {first.op_type}, not with a convolution")
    std = np.array(STD_RGB, np.float32).reshape(1, 3, 1, 1)
    weights[first.input[1]] = weights[first.input[1]][:, ::-1] / std
