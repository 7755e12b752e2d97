"""The end of the served graph: from dense outputs to at most 100 people.

Shapes: B batch, h w size of a pyramid level, A anchor points, D = 100 detections, n boxes kept by
the suppression over the whole batch.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from farpose_training.detection.graph import GraphBuilder
from farpose_training.detection.model import DISTANCES, LOGITS, STRIDES

DETECTIONS = 100
"""Boxes per picture in the output; fewer are padded with zeros."""

NMS_IOU = 0.6
"""Boxes that overlap a better one by more are dropped (RTMDet's own setting)."""

SCORE_FLOOR = 0.05
"""Boxes with a lower score are never reported (RTMDet's own setting)."""


def append_tail(build: GraphBuilder) -> None:
    """Add everything from the network's outputs to `boxes` and `scores`."""
    boxes_b4a = build.add(
        "Concat",
        *(_level_boxes(build, *level) for level in zip(DISTANCES, STRIDES, strict=True)),
        axis=2,
    )
    boxes_ba4 = build.add("Transpose", boxes_b4a, perm=[0, 2, 1])
    flat = build.constant("flat_logits", np.array([0, 1, -1], np.int64))
    logits = [build.add("Reshape", name, flat) for name in LOGITS]
    scores_b1a = build.add("Sigmoid", build.add("Concat", *logits, axis=2))
    kept_b1a = suppress(build, boxes_ba4, scores_b1a)
    append_detections(build, boxes_ba4, kept_b1a)


def _level_boxes(build: GraphBuilder, distances: str, stride: int) -> str:
    """Distances `[B,4,h,w]` -> boxes `[B,4,h*w]`, xyxy in input pixels."""
    zero, one = build.constant("start", np.int64(0)), build.constant("step", np.int64(1))
    shape = build.add("Shape", distances)
    grid = []
    for axis, view in ((3, [1, 1, 1, -1]), (2, [1, 1, -1, 1])):
        length = build.add("Gather", shape, build.constant(f"axis_{axis}", np.int64(axis)))
        cells = build.add("Cast", build.add("Range", zero, length, one), to=TensorProto.FLOAT)
        pixels = build.add("Mul", cells, build.constant(f"stride_{stride}", np.float32(stride)))
        target = build.constant(f"along_axis_{axis}", np.array(view, np.int64))
        grid.append(build.add("Reshape", pixels, target))
    quarters = build.constant("four_ones", np.ones(4, np.int64))
    sides = build.add("Split", distances, quarters, axis=1, outputs=4)
    edges = [
        build.add("Sub" if side < 2 else "Add", grid[side % 2], name)
        for side, name in enumerate(sides)
    ]
    flat = build.constant("flat_boxes", np.array([0, 4, -1], np.int64))
    return build.add("Reshape", build.add("Concat", *edges, axis=1), flat)


def suppress(build: GraphBuilder, boxes_ba4: str, scores_b1a: str, nms_iou: float = NMS_IOU) -> str:
    """Scores `[B,1,A]` with those of dropped boxes set to 0, whatever was kept."""
    kept_n3 = build.add(
        "NonMaxSuppression",
        boxes_ba4,
        scores_b1a,
        build.constant("detections", np.array([DETECTIONS], np.int64)),
        build.constant("nms_iou", np.array([nms_iou], np.float32)),
        build.constant("score_floor", np.array([SCORE_FLOOR], np.float32)),
    )
    zeros = build.add("Mul", scores_b1a, build.constant("zero", np.float32(0)))
    scores_n = build.add("GatherND", scores_b1a, kept_n3)
    return build.add("ScatterND", zeros, kept_n3, scores_n)


def append_detections(build: GraphBuilder, boxes_ba4: str, kept_b1a: str) -> None:
    """The graph's outputs: the D best kept points, sorted, zeros where there are fewer.

    D points with score 0 are appended first, so that there are always enough.
    """
    class_axis = build.constant("class_axis", np.array([1], np.int64))
    kept_ba = build.add("Squeeze", kept_b1a, class_axis)
    kept_ba = _pad(build, kept_ba, [0, 0, 0, DETECTIONS])
    boxes_ba4 = _pad(build, boxes_ba4, [0, 0, 0, 0, DETECTIONS, 0])
    count = build.constant("detections", np.array([DETECTIONS], np.int64))
    _, points_bd = build.add("TopK", kept_ba, count, axis=1, output=("scores", "farpose_points"))
    last = build.constant("last_axis", np.array([2], np.int64))
    four = build.constant("four", np.array([1, 1, 4], np.int64))
    rows_bd4 = build.add("Expand", build.add("Unsqueeze", points_bd, last), four)
    boxes_bd4 = build.add("GatherElements", boxes_ba4, rows_bd4, axis=1)
    zero = build.constant("zero", np.float32(0))
    found_bd1 = build.add("Unsqueeze", build.add("Greater", "scores", zero), last)
    build.add("Where", found_bd1, boxes_bd4, zero, output=("boxes",))


def _pad(build: GraphBuilder, tensor: str, pads: list[int]) -> str:
    return build.add("Pad", tensor, build.constant(f"pads_{len(pads)}", np.array(pads, np.int64)))
