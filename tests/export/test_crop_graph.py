"""The crop in the graph beside the reference crop."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.geometry import CropGeometry
from farpose_export.crop_graph import Runtime, crop_model
from farpose_export.gate.fused import generated_boxes, generated_frame

Frame = NDArray[np.uint8]
Boxes = NDArray[np.float32]
RUNTIMES: tuple[Runtime, ...] = ("onnxruntime", "tensorrt")


@cache
def cropper(resolution: int = 64, runtime: Runtime = "onnxruntime") -> ort.InferenceSession:
    return ort.InferenceSession(
        crop_model(resolution, runtime).SerializeToString(), providers=["CPUExecutionProvider"]
    )


def cropped(
    image: Frame, boxes: object, resolution: int = 64, runtime: Runtime = "onnxruntime"
) -> NDArray[np.float32]:
    rows = np.asarray(boxes, np.float32).reshape(-1, 4)
    return cropper(resolution, runtime).run(["crops"], {"image": image, "boxes": rows})[0]


def check_crops(image: Frame, boxes: object, resolution: int, runtime: Runtime) -> None:
    geometry = CropGeometry.from_boxes(np.asarray(boxes, np.float32))
    reference = crop_people(image, geometry, resolution)
    difference = np.abs(cropped(image, boxes, resolution, runtime) - reference)
    # The promise is a mean of 1 and at most 6; only OpenCV's fixed-point weights differ.
    assert difference.max(initial=0) <= 2
    assert difference.mean(axis=(1, 2, 3)).max(initial=0) <= 0.1


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("resolution", [32, 64])
def test_real_people_are_cropped_as_the_reference_does(
    real_people: list[tuple[Frame, Boxes]], resolution: int, runtime: Runtime
):
    for image, boxes in real_people:
        check_crops(image, boxes, resolution, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("height", "width"),
    [(240, 320), (361, 643), (719, 1280), (720, 1279), (3, 5), (1, 7), (9, 1), (1, 1)],
)
def test_frames_of_any_size_are_cropped(height: int, width: int, runtime: Runtime):
    rng = np.random.default_rng(0)
    image = generated_frame(rng, height, width)
    check_crops(image, generated_boxes(rng, height, width, 24), 32, runtime)


@given(
    x=st.floats(-0.5, 1.5),
    y=st.floats(-0.5, 1.5),
    log_side=st.floats(np.log(2), np.log(12000)),
    aspect=st.floats(0.2, 3),
    resolution=st.sampled_from([32, 64]),
)
@settings(max_examples=60, deadline=None)
@example(x=0.5, y=0.5, log_side=np.log(204.8), aspect=1, resolution=64)  # where level 1 begins
@example(x=0.5, y=0.5, log_side=np.log(1.0), aspect=1, resolution=64)
def test_any_box_is_cropped_as_the_reference_does(
    x: float, y: float, log_side: float, aspect: float, resolution: int
):
    image = generated_frame(np.random.default_rng(1), 231, 317)
    half = np.exp(log_side) / 2 * np.array([min(aspect, 1), min(1 / aspect, 1)])
    center = np.array([x, y]) * (317, 231)
    box = np.concatenate([center - half, center + half])
    check_crops(image, box[None], resolution, "onnxruntime")


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4, 5])
def test_big_people_are_read_from_the_level_of_their_size(level: int):
    image = generated_frame(np.random.default_rng(2), 1083, 1917)
    side = 3 * 32 * 2**level  # of a crop of R = 32: level L is for 2 to 4 R * 2^L pixels
    assert np.floor(np.log2(side / 64)) == level
    half = side / 1.25 / 2
    box = [800 - half, 500 - half, 800 + half, 500 + half]
    check_crops(image, [box], 32, "onnxruntime")


def test_a_persons_crop_does_not_depend_on_the_others():
    image = generated_frame(np.random.default_rng(3), 401, 601)
    boxes = [[50, 60, 80, 120], [10, 10, 590, 390], [300, 100, 330, 140]]
    together = cropped(image, boxes)
    for crop, box in zip(together, boxes, strict=True):
        assert (cropped(image, box)[0] == crop).all()


def test_outside_the_frame_is_black():
    image = np.full((40, 41, 3), 200, np.uint8)
    assert cropped(image, [500, 20, 530, 50]).max() == 0
    # Its crop spans 20 to 60 of the 41 pixels across.
    partly = cropped(image, [24, 4, 56, 36])[0, 2:-2]
    assert partly[:, :32].min() == 200
    assert partly[:, 35:].max() == 0
