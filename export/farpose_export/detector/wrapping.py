"""Puts a detector's graph between our input and our outputs.

`images` UINT8 `[B,H,W,3]` RGB to `boxes` FP32 `[B,100,4]` and `scores` FP32 `[B,100]`, sorted, with
zeros where there are fewer people.

Shapes: B batch, A anchor points, K detections of the network.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, version_converter

from farpose_export.detector.network import DetectorError, Network
from farpose_training.detection.export import IR_VERSION, OPSET
from farpose_training.detection.graph import GraphBuilder
from farpose_training.detection.tail import (
    DETECTIONS,
    SCORE_FLOOR,
    append_detections,
    suppress,
)

NEWEST_OPSET: Final = 20
"""What the ONNX Runtime of NVIDIA's containers from 24.12 reads."""


def wrap(network: Network) -> onnx.ModelProto:
    """The graph of the contract, with the network's facts in its metadata.

    Raises:
        DetectorError: the network's operators are too new.
    """
    original = compose.add_prefix(_at_our_opset(network.graph), "network/").graph
    build = GraphBuilder()
    _append_input(build, network, original.input[0].name)
    build.nodes.extend(original.node)
    for place, node in enumerate(build.nodes):
        node.name = node.name or f"network/{node.op_type}_{place}"
    names = [output.name for output in original.output]
    match network.outputs:
        case "dense":
            _append_dense(build, network, *names)
        case "end_to_end":
            _append_end_to_end(build, network.person, *names)
        case "mmdeploy":
            _append_mmdeploy(build, network.person, *names)
    for weight in original.initializer:
        build.constants[weight.name] = weight
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
    wrapped = helper.make_model(
        graph,
        opset_imports=list(_at_our_opset(network.graph).opset_import),
        ir_version=IR_VERSION,
        producer_name="farpose",
    )
    facts = {
        **network.facts,
        "task": "person detection",
        "nms_iou": str(network.nms_iou),
        "score_floor": str(SCORE_FLOOR),
        "max_detections": str(DETECTIONS),
        "input_multiple": "32",
        "letterbox_padding": "114",
        "precision": "fp32",
    }
    helper.set_model_props(wrapped, facts)
    onnx.checker.check_model(wrapped)
    return wrapped


def _at_our_opset(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Brought up to our opset; a newer one stays, if the runtimes read it."""
    opset = next(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
    if opset > NEWEST_OPSET:
        raise DetectorError(
            f"the detector has ONNX opset {opset}: export it anew with opset {NEWEST_OPSET} or less"
        )
    return graph if opset >= OPSET else version_converter.convert_version(graph, OPSET)


def _append_input(build: GraphBuilder, network: Network, name: str) -> None:
    """Cast, transpose, channel order, mean and deviation."""
    x = build.add("Cast", "images", to=TensorProto.FLOAT)
    x = build.add("Transpose", x, perm=[0, 3, 1, 2])
    mean, std = np.array(network.mean, np.float32), np.array(network.std, np.float32)
    if network.bgr:
        order = build.constant("bgr", np.array([2, 1, 0], np.int64))
        x = build.add("Gather", x, order, axis=1)
        mean, std = mean[::-1], std[::-1]
    x = build.add("Sub", x, build.constant("mean", mean.reshape(1, 3, 1, 1)))
    build.add("Div", x, build.constant("std", std.reshape(1, 3, 1, 1)), output=(name,))


def _append_dense(build: GraphBuilder, network: Network, output: str) -> None:
    """Corners from centres and sizes; people only where no other class scores more."""
    center, size, classes = (
        _part(build, output, begin, end, axis=1) for begin, end in ((0, 2), (2, 4), (4, None))
    )
    half = build.add("Mul", size, build.constant("half", np.float32(0.5)))
    corners = build.add(
        "Concat", build.add("Sub", center, half), build.add("Add", center, half), axis=1
    )
    boxes_ba4 = build.add("Transpose", corners, perm=[0, 2, 1])
    person = _part(build, classes, network.person, network.person + 1, axis=1)
    best = build.add("ReduceMax", classes, axes=[1], keepdims=1)
    scores_b1a = _only_where(build, build.add("GreaterOrEqual", person, best), person)
    append_detections(build, boxes_ba4, suppress(build, boxes_ba4, scores_b1a, network.nms_iou))


def _append_end_to_end(build: GraphBuilder, person: int, output: str) -> None:
    boxes_ba4 = _part(build, output, 0, 4, axis=2)
    scores_bk1 = _part(build, output, 4, 5, axis=2)
    classes_bk1 = _part(build, output, 5, 6, axis=2)
    is_person = build.add("Equal", classes_bk1, build.constant("person", np.float32(person)))
    scores = _only_where(build, is_person, scores_bk1)
    append_detections(build, boxes_ba4, _above_floor(build, scores))


def _append_mmdeploy(build: GraphBuilder, person: int, detections: str, labels: str) -> None:
    boxes_ba4 = _part(build, detections, 0, 4, axis=2)
    scores_bk1 = _part(build, detections, 4, 5, axis=2)
    last = build.constant("last_axis", np.array([2], np.int64))
    classes = build.add("Unsqueeze", build.add("Cast", labels, to=TensorProto.INT64), last)
    is_person = build.add("Equal", classes, build.constant("person", np.int64(person)))
    scores = _only_where(build, is_person, scores_bk1)
    append_detections(build, boxes_ba4, _above_floor(build, scores))


def _above_floor(build: GraphBuilder, scores_bk1: str) -> str:
    """Scores `[B,1,K]`, 0 below the floor."""
    floor = build.constant("floor", np.float32(SCORE_FLOOR))
    scores = _only_where(build, build.add("Greater", scores_bk1, floor), scores_bk1)
    return str(build.add("Transpose", scores, perm=[0, 2, 1]))


def _only_where(build: GraphBuilder, condition: str, scores: str) -> str:
    return str(build.add("Where", condition, scores, build.constant("zero", np.float32(0))))


def _part(build: GraphBuilder, tensor: str, begin: int, end: int | None, axis: int) -> str:
    last = np.iinfo(np.int64).max if end is None else end
    ends = (("begin", begin), ("end", last), ("axis", axis))
    places = [
        build.constant(f"{what}_{place}", np.array([place], np.int64)) for what, place in ends
    ]
    return str(build.add("Slice", tensor, *places))
