"""Crop and pose network in one ONNX graph: a frame and boxes in, keypoints in frame pixels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx
from onnx import compose, helper, parser

from farpose_export.crop_graph import IR_VERSION, OPSET, Runtime, crop_model
from farpose_export.graph import OUTPUTS, to_onnx
from farpose_training.models.network import PoseNet

_POSE: Final = "pose_"
"""Before the names of the network's tensors and nodes."""


class FuseError(ValueError):
    """A graph that cannot be joined to the crop; the message says why."""


def to_fused_onnx(
    model: PoseNet, joints: int, facts: Mapping[str, str], runtime: Runtime = "onnxruntime"
) -> onnx.ModelProto:
    """Freeze a network together with the crop and the way back to the frame.

    Args:
        model: in eval mode.
        joints: `J`.
        facts: written into the graph's `metadata_props`.
        runtime: what will run it, see `farpose_export.crop_graph`.

    Returns:
        A graph from `image` UINT8 `[H,W,3]` RGB and `boxes` FP32 `[P,4]` (xyxy, continuous frame
        pixels) to `keypoints` FP32 `[P,J,2]` frame pixels, `scores` FP32 `[P,J]` and `variances`
        FP32 `[P,J,2]` frame pixels squared. P may be 0. All are 0 for a box that has no area, is
        not finite or lies 10^6 pixels away.
    """
    return fuse(to_onnx(model, joints, facts), runtime)


def fuse(pose: onnx.ModelProto, runtime: Runtime = "onnxruntime") -> onnx.ModelProto:
    """Put the crop before a pose graph, and the way back to the frame after it.

    Args:
        pose: a pose model's graph, from `crops` UINT8 `[N,R,R,3]`. Its weights, precision and facts
            are kept.
        runtime: what will run it.

    Raises:
        FuseError: the graph does not keep the contract of a pose model.
    """
    resolution, joints = _sizes(pose)
    crop = crop_model(resolution, runtime).graph
    network = compose.add_prefix(pose, _POSE).graph
    to_frame = _to_frame(resolution, joints).graph
    _read(crop, "boxes", "boxes_or_one")
    # The network's first node is a Cast, which takes the crop's floats as it took bytes.
    _read(network, f"{_POSE}crops", "crops")
    parts = [_boxes_or_one().graph, crop, network, to_frame]
    graph = helper.make_graph(
        [node for part in parts for node in part.node],
        "fused",
        crop.input,
        to_frame.output,
        [weight for part in parts for weight in part.initializer],
    )
    fused = helper.make_model(
        graph, ir_version=max(IR_VERSION, pose.ir_version), opset_imports=pose.opset_import
    )
    fused.metadata_props.extend(pose.metadata_props)
    onnx.checker.check_model(fused, full_check=True)
    return fused


def _sizes(pose: onnx.ModelProto) -> tuple[int, int]:
    """`R` and `J` of a pose model's graph."""
    graph = pose.graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    if shapes.keys() != {"crops", *OUTPUTS}:
        raise FuseError(
            f"the graph has the inputs and outputs {', '.join(shapes)}: those of a pose model are "
            f"crops, {', '.join(OUTPUTS)}"
        )
    opset = {entry.domain: entry.version for entry in pose.opset_import}.get("")
    if opset != OPSET:
        raise FuseError(f"the graph is of opset {opset}, the crop of {OPSET}: export it at {OPSET}")
    readers = {node.op_type for node in graph.node if "crops" in node.input}
    if readers != {"Cast"}:
        raise FuseError(f"the crops go into {', '.join(sorted(readers))}: a Cast has to come first")
    return shapes["crops"][1], shapes["scores"][1]


def _read(graph: onnx.GraphProto, name: str, instead: str) -> None:
    for node in graph.node:
        node.input[:] = [instead if tensor == name else tensor for tensor in node.input]


def _boxes_or_one() -> onnx.ModelProto:
    """One empty box where there is none: networks are not made for an empty batch."""
    return parser.parse_model(f"""<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
boxes_or_one (float[P, 4] boxes) => (float[Q, 4] boxes_or_one)
<
  int64[1] one_person = {{1}}, int64[1] nobody = {{0}},
  int64[1] person_axis = {{0}}
>
{{
  boxes_shape = Shape(boxes)
  people = Slice(boxes_shape, nobody, one_person, person_axis)
  one_less = Sub(one_person, people)
  missing = Max(one_less, nobody)
  pads = Concat<axis = 0>(nobody, nobody, missing, nobody)
  boxes_or_one = Pad<mode = "constant">(boxes, pads)
}}""")


def _to_frame(resolution: int, joints: int) -> onnx.ModelProto:
    """Crop pixels to frame pixels, as `CropGeometry.to_frame` does; zeros where there is no box."""
    pair, single = f"float[P, {joints}, 2]", f"float[P, {joints}]"
    return parser.parse_model(f"""<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>
to_frame ({pair} {_POSE}keypoints, {single} {_POSE}scores, {pair} {_POSE}variances) =>
  ({pair} keypoints, {single} scores, {pair} variances)
<
  float[1] crop_side = {{{resolution}}}, float[1] crop_center = {{{resolution / 2}}},
  int64[1] middle_axis = {{1}}, int64[1] last_axis = {{2}}
>
{{
  crop_scale = Div(sides, crop_side)
  scale = Unsqueeze(crop_scale, last_axis)
  person_center = Unsqueeze(centers, middle_axis)
  person_valid = Unsqueeze(valid, last_axis)
  from_crop_center = Sub({_POSE}keypoints, crop_center)
  from_person_center = Mul(from_crop_center, scale)
  frame_keypoints = Add(from_person_center, person_center)
  square = Mul(scale, scale)
  frame_variances = Mul({_POSE}variances, square)
  keypoints_or_0 = Mul(frame_keypoints, person_valid)
  scores_or_0 = Mul({_POSE}scores, valid)
  keypoints = Slice(keypoints_or_0, nobody, people, person_axis)
  scores = Slice(scores_or_0, nobody, people, person_axis)
  variances = Slice(frame_variances, nobody, people, person_axis)
}}""")
