"""The frame's pyramid of 2x2 means as lines of ONNX text, for `farpose_export.crop_graph`."""

from __future__ import annotations

from typing import Final

LEVELS: Final = 8
"""Levels above the frame. Crops of `2R * 2^9` frame pixels or more, which would want a higher one,
are read from the last."""


def pyramid_lines(in_bytes: bool) -> str:
    """Lines that make `pyramid` `[N,3]`: the pixels of the frame and of all levels, in order.

    Means are rounded half up, and an odd last row or column counts twice, as in `farpose.crop`.

    Args:
        in_bytes: `frame` `[H,W,3]` and `pyramid` are UINT8; if not, both are FP32.
    """
    levels = [_level(n, "frame" if n == 1 else f"level_{n - 1}") for n in range(1, LEVELS + 1)]
    stored = [
        f"stored_{n} = {'Cast<to = 2>' if in_bytes else 'Identity'}(pixels_{n})"
        for n in range(1, LEVELS + 1)
    ]
    parts = ["frame_pixels", *(f"stored_{n}" for n in range(1, LEVELS + 1))]
    return "\n".join([*levels, *stored, f"pyramid = Concat<axis = 0>({', '.join(parts)})"])


def _level(n: int, before: str) -> str:
    """Lines that make level `n`: `pixels_n` `[h*w,3]` and `level_n` `[h,w,3]`, FP32."""
    return f"""
      number_{n} = Constant<value = int64[1] {{{n}}}>()
      before_{n} = Sub(number_{n}, one)
      size_{n} = Gather(level_sizes, number_{n})
      size_before_{n} = Gather(level_sizes, before_{n})
      even_{n} = Mul(size_{n}, two)
      odd_{n} = Sub(even_{n}, size_before_{n})
      size_list_{n} = Squeeze(size_{n}, axis_0)
      odd_list_{n} = Squeeze(odd_{n}, axis_0)
      width_{n}, height_{n} = Split<axis = 0>(size_list_{n})
      odd_width_{n}, odd_height_{n} = Split<axis = 0>(odd_list_{n})
      pads_{n} = Concat<axis = 0>(three_zeros, odd_height_{n}, odd_width_{n}, zero_i)
      padded_{n} = Pad<mode = "edge">({before}, pads_{n})
      floats_{n} = Cast<to = 1>(padded_{n})
      pair_shape_{n} = Concat<axis = 0>(height_{n}, two, rest)
      row_pairs_{n} = Reshape(floats_{n}, pair_shape_{n})
      row_sums_{n} = ReduceSum<keepdims = 0>(row_pairs_{n}, axis_1)
      pixel_pairs_{n} = Reshape(row_sums_{n}, pixel_pair_list)
      means_{n} = MatMul(pixel_pairs_{n}, quarter_of_pair)
      means_up_{n} = Add(means_{n}, half)
      pixels_{n} = Floor(means_up_{n})
      level_shape_{n} = Concat<axis = 0>(height_{n}, width_{n}, three)
      level_{n} = Reshape(pixels_{n}, level_shape_{n})"""
