from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farpose.crop import crop_affine, crop_people
from farpose.geometry import BoxError, CropGeometry

SIDES = st.floats(12, 900)
CENTERS = st.floats(-200, 900)


def geometry(x: float, y: float, side: float) -> CropGeometry:
    return CropGeometry(np.array([[x, y]]), np.array([side]))


@given(x=CENTERS, y=CENTERS, side=SIDES, resolution=st.sampled_from([32, 64, 256]))
def test_a_point_maps_to_the_crop_and_back(x: float, y: float, side: float, resolution: int):
    crop = geometry(x, y, side)
    points = np.array([[[0.0, 0.0], [resolution / 2, resolution / 2], [resolution, 3.5]]])
    frame = crop.to_frame(points, resolution)
    assert np.allclose(frame[0, 1], [x, y])
    assert np.allclose(crop.to_crop(frame, resolution), points, atol=1e-6)


@given(x=CENTERS, y=CENTERS, side=SIDES, px=CENTERS, py=CENTERS)
def test_a_position_at_256_is_exactly_four_times_that_at_64(
    x: float, y: float, side: float, px: float, py: float
):
    crop, point = geometry(x, y, side), np.array([[[px, py]]])
    assert np.allclose(crop.to_crop(point, 256), 4 * crop.to_crop(point, 64))


def test_a_box_becomes_a_square_around_its_centre():
    crop = CropGeometry.from_boxes([[10, 20, 30, 100]])
    assert crop.sides.tolist() == [100.0]  # the longer side, 80, times 1.25
    # The box spans 10 to 30: its middle, 20, is the edge between the pixels 19 and 20.
    assert crop.centers.tolist() == [[19.5, 59.5]]


@pytest.mark.parametrize(
    "box",
    [
        [5, 5, 5, 9],  # no width
        [5, 5, 9, 5],  # no height
        [9, 5, 5, 9],  # right of its right edge
        [0, 0, float("nan"), 4],  # not a number
        [0, 0, float("inf"), 4],  # without end
    ],
)
def test_a_box_without_area_is_refused_by_number(box: list[float]):
    with pytest.raises(BoxError, match="box 1 is"):
        CropGeometry.from_boxes([[0, 0, 1, 1], box])


@pytest.mark.parametrize("resolution", [32, 64, 96, 128, 256])
@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 2.0, 3.9, 4.0, 7.3, 13.0])
def test_a_dot_is_found_where_the_geometry_puts_it(resolution: int, scale: float):
    side = resolution * scale
    width = int(side * 1.6) + 41
    crop = geometry(width / 2 + 0.3, width / 2 - 0.7, side)
    dot = np.array([width / 2 + side * 0.11, width / 2 - side * 0.07])
    y, x = np.mgrid[:width, :width]
    spread = max(1.5, 1.2 * scale)
    blob = 250 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / (2 * spread**2))
    frame = np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, axis=2)

    seen = crop_people(frame, crop, resolution)[0, :, :, 0].astype(float)
    found = [
        (seen.sum(axis=0) * np.arange(resolution)).sum() / seen.sum(),
        (seen.sum(axis=1) * np.arange(resolution)).sum() / seen.sum(),
    ]
    expected = crop.to_crop(dot[None, None], resolution)[0, 0]
    assert np.abs(np.array(found) - expected).max() < 0.05


def mean_pyramid_crop(frame: np.ndarray, matrix: np.ndarray, resolution: int) -> np.ndarray:
    """The definition, written out pixel by pixel over the whole frame."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    level = max(0, int(np.floor(np.log2(scale / 2))))
    image = frame.astype(np.int64)
    for _ in range(level):
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        image = (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2] + 2) // 4
    index = (np.arange(2 * resolution) - 0.5) / 2
    x, y = np.meshgrid(index, index)
    points = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
    points = (points - (2**level - 1) / 2) / 2**level
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    points = np.clip(points + 1, 0, np.array(padded.shape[1::-1]) - 1.001)
    low = points.astype(int)
    fx, fy = np.moveaxis((points - low)[..., None], 2, 0)
    taps = [padded[low[..., 1] + dy, low[..., 0] + dx] for dy in (0, 1) for dx in (0, 1)]
    smooth = (taps[0] * (1 - fx) + taps[1] * fx) * (1 - fy) + (
        taps[2] * (1 - fx) + taps[3] * fx
    ) * fy
    return smooth.reshape(resolution, 2, resolution, 2, 3).mean(axis=(1, 3))


@settings(deadline=None, max_examples=40)
@given(
    x=st.floats(-30, 350),
    y=st.floats(-30, 250),
    side=st.floats(12, 900),
    angle=st.floats(-180, 180),
    mirrored=st.booleans(),
)
@example(x=100, y=100, side=512, angle=0, mirrored=False)
def test_the_crop_is_the_mean_pyramid_of_its_definition(
    x: float, y: float, side: float, angle: float, mirrored: bool
):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (14, 20, 3))
    frame = np.kron(coarse, np.ones((16, 17, 1)))[:219, :335].astype(np.uint8)
    turn, scale = np.deg2rad(angle), side / 32
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear[:, 0] *= -1 if mirrored else 1
    matrix = np.column_stack([linear, np.array([x, y]) - linear @ [16, 16]])
    difference = np.abs(crop_affine(frame, matrix, 32) - mean_pyramid_crop(frame, matrix, 32))
    # OpenCV interpolates in fixed point.
    assert difference.mean() < 1
    assert difference.max() <= 6


def test_outside_the_frame_is_black():
    frame = np.full((40, 40, 3), 200, np.uint8)
    assert crop_people(frame, geometry(500, 20, 30), 32).max() == 0
    half = crop_people(frame, geometry(39.5, 20, 32), 32)[0]
    assert half[:, :15].min() == 200
    assert half[:, 17:].max() == 0


def test_nobody_makes_an_empty_batch():
    crops = crop_people(np.zeros((8, 8, 3), np.uint8), CropGeometry.from_boxes([]), 64)
    assert crops.shape == (0, 64, 64, 3)


@given(
    people=st.lists(st.tuples(CENTERS, CENTERS, SIDES), min_size=1, max_size=12),
    width=st.integers(1, 700),
    height=st.integers(1, 500),
)
@example(people=[(300, 200, 500)] * 9, width=641, height=427)  # together larger than the frame
@settings(max_examples=30, deadline=None)
def test_people_who_share_a_frame_get_the_pixels_that_each_gets_alone(
    people: list[tuple[float, float, float]], width: int, height: int
):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    of_all = CropGeometry(
        np.array([[x, y] for x, y, _ in people]), np.array([s for *_, s in people])
    )
    crops = crop_people(frame, of_all, 64)
    for person, crop in zip(people, crops, strict=True):
        assert np.array_equal(crop, crop_people(frame, geometry(*person), 64)[0])
