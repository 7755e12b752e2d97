"""Resizing frames for the detector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose.letterbox import PADDING, letterbox, resize

SIDES = st.integers(1, 700)
SIZES = st.sampled_from([32, 320, 416, 640])


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [
        (1280, 720, 640, (384, 640)),  # 640x360, padded at the bottom only
        (720, 1280, 640, (640, 384)),  # portrait, padded at the right only
        (640, 480, 320, (256, 320)),
        (320, 320, 320, (320, 320)),  # nothing to do
        (100, 50, 320, (160, 320)),  # enlarged
        (3000, 1, 320, (32, 320)),  # at least one pixel row survives
    ],
)
def test_input_shape(width: int, height: int, size: int, expected: tuple[int, int]) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    assert letterbox(frame, size).image.shape == (*expected, 3)


@settings(deadline=None, max_examples=40)
@given(width=SIDES, height=SIDES, size=SIZES)
def test_padding_is_minimal_and_grey(width: int, height: int, size: int) -> None:
    boxed = letterbox(np.full((height, width, 3), 200, np.uint8), size)
    rows, columns, _ = boxed.image.shape
    inside_width = round(width * boxed.scale[0])
    inside_height = round(height * boxed.scale[1])
    assert max(inside_width, inside_height) == size
    assert (rows % 32, columns % 32) == (0, 0)
    assert 0 <= columns - inside_width < 32
    assert 0 <= rows - inside_height < 32
    assert (boxed.image[:inside_height, :inside_width] == 200).all()
    assert (boxed.image[inside_height:] == PADDING).all()
    assert (boxed.image[:, inside_width:] == PADDING).all()


@settings(deadline=None, max_examples=40)
@given(width=SIDES, height=SIDES, size=SIZES, box=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_map_there_and_back(
    width: int, height: int, size: int, box: tuple[float, float, float, float]
) -> None:
    boxed = letterbox(np.zeros((height, width, 3), np.uint8), size)
    in_frame = np.array([box]) * np.array([width, height, width, height])
    there = boxed.boxes_from_frame(in_frame)
    np.testing.assert_allclose(boxed.boxes_to_frame(there), in_frame, atol=1e-3)


def test_the_whole_input_maps_to_the_whole_frame() -> None:
    boxed = letterbox(np.zeros((333, 1001, 3), np.uint8), 320)
    rows, columns, _ = boxed.image.shape
    box = boxed.boxes_to_frame(np.array([[-5.0, -5.0, columns, rows]]))
    np.testing.assert_allclose(box, [[0, 0, 1001, 333]], atol=1e-3)


def test_no_boxes_map_to_no_boxes() -> None:
    boxed = letterbox(np.zeros((10, 10, 3), np.uint8), 32)
    assert boxed.boxes_to_frame(np.zeros((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_a_block_stays_where_it_was(factor: int) -> None:
    """A white block's edges land at the scaled continuous coordinates, to a fifth of a pixel."""
    frame = np.zeros((64 * factor, 64 * factor, 3), np.uint8)
    frame[20 * factor : 40 * factor, 10 * factor : 30 * factor] = 255
    small = resize(frame, 64, 64)[..., 0].astype(np.float64)
    mass = small.sum()
    assert mass / 255 == pytest.approx(400, rel=0.02)
    assert (small.sum(axis=0) @ (np.arange(64) + 0.5)) / mass == pytest.approx(20, abs=0.2)
    assert (small.sum(axis=1) @ (np.arange(64) + 0.5)) / mass == pytest.approx(30, abs=0.2)


def test_thin_lines_do_not_vanish_in_strong_shrinking() -> None:
    frame = np.zeros((960, 960, 3), np.uint8)
    frame[:, ::8] = 240
    assert resize(frame, 120, 120).mean() == pytest.approx(30, abs=2)


@pytest.mark.parametrize("size", [0, -32, 300])
def test_size_must_be_a_multiple_of_32(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        letterbox(np.zeros((10, 10, 3), np.uint8), size)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((10, 10), np.uint8),  # grey
        np.zeros((10, 10, 4), np.uint8),  # with alpha
        np.zeros((0, 10, 3), np.uint8),  # empty
        np.zeros((10, 10, 3), np.float32),
    ],
)
def test_a_frame_must_be_uint8_rgb(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"UINT8 \[H,W,3\]"):
        letterbox(frame, 320)
