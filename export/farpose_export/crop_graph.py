"""The reference crop as ONNX operators: a frame and boxes in, crops out.

A crop is read from one level of the frame's pyramid of 2x2 means, as in `farpose.crop`, with four
`Gather`s. Only the level of each box is read, and the pyramid is made only for frames with a box
that needs it: people of a few dozen pixels are read from the frame itself, and then the cost does
not grow with the frame.

`GridSample` is not used: it wants the whole frame as planar floats, and one copy of it per person
or all people in one grid; `Gather` reads the pixels where they are.

Shapes: H, W the frame, P people, R a crop's side, `LEVELS` pyramid levels above the frame.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import parser

from farpose.geometry import BOX_SCALE
from farpose_export.pyramid_graph import LEVELS, pyramid_lines

IR_VERSION: Final = 8
OPSET: Final = 17

FARTHEST: Final = 1e6
"""A box with an edge this far from the frame's corner, in pixels, is no box."""

Runtime = Literal["onnxruntime", "tensorrt"]
"""TensorRT takes UINT8 only as an input: there the whole frame is cast first. ONNX Runtime reads
bytes, and only those that are sampled are cast."""

_BOXES = """
  ends = Abs(boxes)
  near = Less(ends, farthest)
  near_f = Cast<to = 1>(near)
  all_near = ReduceMin<axes = [1], keepdims = 1>(near_f)
  low, high = Split<axis = 1>(boxes)
  size = Sub(high, low)
  positive = Greater(size, zero)
  positive_f = Cast<to = 1>(positive)
  all_positive = ReduceMin<axes = [1], keepdims = 1>(positive_f)
  valid = Mul(all_near, all_positive)
  is_valid = Cast<to = 9>(valid)
  longer = ReduceMax<axes = [1], keepdims = 1>(size)
  scaled = Mul(longer, box_scale)
  sides = Where(is_valid, scaled, zero)
  sum = Add(low, high)
  middle = Mul(sum, half)
  index = Sub(middle, half)
  centers = Where(is_valid, index, zero)
"""
"""`valid` `[P,1]` is 0 or 1; `sides` `[P,1]`, `centers` `[P,2]` as in `CropGeometry`."""

_LEVELS = """
  reached = GreaterOrEqual(sides, level_sides)
  reached_f = Cast<to = 1>(reached)
  level_f = ReduceSum<keepdims = 0>(reached_f, axis_1)
  level = Cast<to = 7>(level_f)
  level_or_0 = Concat<axis = 0>(level_f, zero)
  highest = ReduceMax<keepdims = 0>(level_or_0)
  scalar_0 = Squeeze(zero)
  any_level = Greater(highest, scalar_0)

  frame_shape = Shape(frame)
  frame_size = Gather(frame_shape, width_height)
  rounding = Sub(powers, one)
  enough = Add(frame_size, rounding)
  level_sizes = Div(enough, powers)
  level_widths, level_heights = Split<axis = 1>(level_sizes)
  level_pixels = Mul(level_widths, level_heights)
  pixels_row = Transpose<perm = [1, 0]>(level_pixels)
  pixels_before = Mul(pixels_row, lower_levels)
  level_starts = ReduceSum<keepdims = 0>(pixels_before, axis_1)
"""
"""`level` `[P]`; of each of the `LEVELS + 1` levels its size (x, y) and where its pixels start."""

_TAPS = """
  side_column = Unsqueeze(sides, axis_2)
  center_column = Unsqueeze(centers, axis_2)
  from_center = Mul(side_column, offsets)
  in_frame = Add(from_center, center_column)
  person_power = Gather(powers, level)
  power = Cast<to = 1>(person_power)
  power_column = Unsqueeze(power, axis_2)
  beyond_first = Sub(power_column, one_f)
  to_middle = Mul(beyond_first, half)
  shifted = Sub(in_frame, to_middle)
  in_level = Div(shifted, power_column)

  below = Floor(in_level)
  second_weight = Sub(in_level, below)
  first_weight = Sub(one_f, second_weight)
  weights_anywhere = Concat<axis = 2>(first_weight, second_weight)
  first = Cast<to = 7>(below)
  second = Add(first, one)
  taps = Concat<axis = 2>(first, second)
  person_size = Gather(level_sizes, level)
  limit = Unsqueeze(person_size, axis_2)
  last = Sub(limit, one)
  not_negative = Max(taps, zero_i)
  clipped = Min(not_negative, last)
  inside = Equal(clipped, taps)
  inside_f = Cast<to = 1>(inside)
  weights = Mul(weights_anywhere, inside_f)

  columns, rows = Split<axis = 1>(clipped)
  person_width, person_height = Split<axis = 1>(limit)
  rows_before = Mul(rows, person_width)
  person_start = Gather(level_starts, level)
  start_column = Unsqueeze(person_start, axes_1_2)
  row_starts = Add(rows_before, start_column)
  columns_1, columns_2 = Split<axis = 2>(columns)
  rows_1, rows_2 = Split<axis = 2>(row_starts)
  left = Reshape(columns_1, across)
  right = Reshape(columns_2, across)
  upper = Reshape(rows_1, down)
  lower = Reshape(rows_2, down)
  place_1 = Add(upper, left)
  place_2 = Add(upper, right)
  place_3 = Add(lower, left)
  place_4 = Add(lower, right)

  weights_x, weights_y = Split<axis = 1>(weights)
  weights_x_1, weights_x_2 = Split<axis = 2>(weights_x)
  weights_y_1, weights_y_2 = Split<axis = 2>(weights_y)
  left_pixel = Reshape(weights_x_1, across_pixel)
  right_pixel = Reshape(weights_x_2, across_pixel)
  left_colors = Mul(left_pixel, three_ones)
  right_colors = Mul(right_pixel, three_ones)
  left_weight = Reshape(left_colors, across_colors)
  right_weight = Reshape(right_colors, across_colors)
  upper_weight = Reshape(weights_y_1, down)
  lower_weight = Reshape(weights_y_2, down)
"""
"""Places `[P,2,2,R,R]` in the pixels of all levels, one after another, and weights, for the four
neighbours of each sample. A sample of the doubled crop is addressed by its halves first: whether it
is the lower, and the right one of its pair, then the crop's row and column."""

_SAMPLES = """
  first_row_left = Mul(sample_1, left_weight)
  first_row_right = Mul(sample_2, right_weight)
  first_row = Add(first_row_left, first_row_right)
  second_row_left = Mul(sample_3, left_weight)
  second_row_right = Mul(sample_4, right_weight)
  second_row = Add(second_row_left, second_row_right)
  first_part = Mul(first_row, upper_weight)
  second_part = Mul(second_row, lower_weight)
  blend = Add(first_part, second_part)
  doubled = Round(blend)
  quads = Reshape(doubled, four_samples)
  mean = ReduceMean<axes = [1], keepdims = 0>(quads)
  mean_up = Add(mean, half)
  grey_levels = Floor(mean_up)
  crops = Reshape(grey_levels, crop_shape)
"""


def crop_model(resolution: int, runtime: Runtime = "onnxruntime") -> onnx.ModelProto:
    """A graph that cuts people out of a frame.

    Inputs are `image` UINT8 `[H,W,3]` and `boxes` FP32 `[P,4]` (xyxy, continuous frame pixels).
    Outputs are `crops` FP32 `[P,R,R,3]` of whole grey levels, `centers` FP32 `[P,2]` and `sides`
    FP32 `[P,1]` as in `farpose.geometry.CropGeometry`, and `valid` FP32 `[P,1]`: 0 where a box has
    no area, is not finite or lies 10^6 pixels away, else 1.

    Args:
        resolution: `R`.
        runtime: what will run it.
    """
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>'
    in_bytes = runtime == "onnxruntime"
    text = f"""{header}
crop (uint8[H, W, 3] image, float[P, 4] boxes) => (
  float[P, {resolution}, {resolution}, 3] crops, float[P, 2] centers, float[P, 1] sides,
  float[P, 1] valid
) {{
  frame = {"Identity" if in_bytes else "Cast<to = 1>"}(image)
  frame_pixels = Reshape(frame, pixel_list)
  {_BOXES}{_LEVELS}{_TAPS}
  read_1, read_2, read_3, read_4 = If (any_level) <
    then_branch = from_pyramid () => ({_reads_types(in_bytes, "p")}) {{
      {pyramid_lines(in_bytes)}
      {_reads("pyramid", "p")}
    }},
    else_branch = from_frame () => ({_reads_types(in_bytes, "f")}) {{
      {_reads("frame_pixels", "f")}
    }}
  >
  {_sample_lines(in_bytes)}{_SAMPLES}
}}"""
    model = parser.parse_model(text)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in _constants(resolution).items()
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _reads(pixels: str, suffix: str) -> str:
    return "\n".join(f"{suffix}_{i} = Gather<axis = 0>({pixels}, place_{i})" for i in range(1, 5))


def _reads_types(in_bytes: bool, suffix: str) -> str:
    kind = "uint8" if in_bytes else "float"
    return ", ".join(f"{kind}[P, A, B, C, D, E] {suffix}_{i}" for i in range(1, 5))


def _sample_lines(in_bytes: bool) -> str:
    """Samples `[P,2,2,R,3R]` FP32."""
    lines = []
    for i in range(1, 5):
        lines.append(f"row_{i} = Reshape(read_{i}, sample_shape)")
        cast = "Cast<to = 1>" if in_bytes else "Identity"
        lines.append(f"sample_{i} = {cast}(row_{i})")
    return "\n".join(lines)


def _constants(resolution: int) -> dict[str, NDArray[np.generic]]:
    side = resolution
    # Sample h of the doubled crop lies at crop index (h - 1/2) / 2; even samples come first.
    samples = np.arange(2 * side).reshape(side, 2).T.reshape(-1)
    offsets = ((samples - 0.5) / 2 - side / 2) / side
    powers = 2 ** np.arange(LEVELS + 1)
    floats: dict[str, object] = {
        "zero": [0],
        "half": [0.5],
        "one_f": [1],
        "farthest": [FARTHEST],
        "box_scale": [BOX_SCALE],
        "level_sides": [2 * side * powers[1:]],
        "offsets": offsets[None, None],
        "three_ones": [1, 1, 1],
        "quarter_of_pair": np.tile(np.eye(3) / 4, (2, 1)),
    }
    integers: dict[str, object] = {
        "zero_i": [0],
        "one": [1],
        "two": [2],
        "three": [3],
        "rest": [-1],
        "three_zeros": [0, 0, 0],
        "axis_0": [0],
        "axis_1": [1],
        "axis_2": [2],
        "axes_1_2": [1, 2],
        "width_height": [1, 0],
        "powers": powers[:, None],
        "lower_levels": np.tri(LEVELS + 1, k=-1),
        "pixel_list": [-1, 3],
        "pixel_pair_list": [-1, 6],
        # A 0 keeps P, which may be 0.
        "across": [0, 1, 2, 1, side],
        "down": [0, 2, 1, side, 1],
        "across_pixel": [0, 1, 2, 1, side, 1],
        "across_colors": [0, 1, 2, 1, 3 * side],
        "sample_shape": [0, 2, 2, side, 3 * side],
        "four_samples": [0, 4, 3 * side * side],
        "crop_shape": [0, side, side, 3],
    }
    return {
        **{name: np.asarray(value, np.float32) for name, value in floats.items()},
        **{name: np.asarray(value, np.int64) for name, value in integers.items()},
    }
