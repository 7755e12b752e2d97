from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.detections import DetectedBoxes
from farpose.evaluation.report.degradations import (
    DEGRADATIONS,
    Degradation,
    DegradationError,
    degrade,
    parse_degradation,
)
from farpose.evaluation.report.measuring import Protocol, measure
from farpose.evaluation.runner import PredictedPoses
from farpose.pipeline import PosePipeline

EngineFor = Callable[..., Any]


def scene() -> np.ndarray:
    """Smooth shapes with edges, as `[120,160,3]`."""
    image = np.full((120, 160, 3), 90, np.uint8)
    cv2.circle(image, (60, 50), 30, (200, 40, 90), cv2.FILLED)
    cv2.rectangle(image, (90, 70), (150, 110), (20, 180, 220), cv2.FILLED)
    return image


def apply(degradation: Degradation, seed: int = 0) -> np.ndarray:
    return degradation.apply(scene(), np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["blur", "jpeg", "noise"])
def test_the_strengths_of_a_kind_grow_from_first_to_last(kind: str):
    steps = [step for step in DEGRADATIONS if step.kind == kind]
    errors = [np.abs(apply(step).astype(float) - scene()).mean() for step in steps]
    assert len(steps) == 3
    assert 0 < errors[0] < errors[1] < errors[2]


def test_blur_is_a_gaussian_of_this_deviation():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    row = Degradation("blur", 2).apply(image, np.random.default_rng(0))[20, 24:36, 0]
    # An edge becomes the Gaussian's distribution function.
    places = np.arange(24, 36) - 29.5
    expected = [100 * (1 + math.erf(place / 2 / math.sqrt(2))) for place in places]
    assert row.astype(float) == pytest.approx(expected, abs=1.5)


def test_noise_has_this_deviation_and_no_bias():
    image = np.full((200, 200, 3), 128, np.uint8)
    noisy = Degradation("noise", 10).apply(image, np.random.default_rng(0)).astype(float)
    assert noisy.std() == pytest.approx(10, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    assert np.array_equal(apply(Degradation("noise", 10), 7), apply(Degradation("noise", 10), 7))


def test_jpeg_keeps_the_order_of_the_channels():
    found = apply(Degradation("jpeg", 95))
    assert found[50, 60].astype(float) == pytest.approx([200, 40, 90], abs=6)


def test_a_quarter_of_the_resolution_has_a_sixteenth_of_the_pixels():
    assert apply(Degradation("resolution", 0.25)).shape == (30, 40, 3)


@pytest.mark.parametrize("text", ["blur=2", "jpeg=20", "noise=12.5", "resolution=0.5"])
def test_a_degradation_is_written_as_it_is_read(text: str):
    assert parse_degradation(text).name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog=2", "'fog=2' is no degradation: give blur=PIXELS"),
        ("blur", "'blur' is no degradation"),
        ("blur=much", "'blur=much' is no degradation"),
        ("blur=nan", "strength of blur is 0.1 to 50"),
        ("jpeg=0", "strength of jpeg is 1 to 100"),
        ("resolution=2", "strength of resolution is 0.01 to 0.99"),  # that would enlarge it
        ("noise=-1", "strength of noise"),
    ],
)
def test_an_unknown_degradation_is_refused(text: str, message: str):
    with pytest.raises(DegradationError, match=message):
        parse_degradation(text)


def test_noise_does_not_depend_on_the_order_of_reading(labelled: PoseDataset):
    step = Degradation("noise", 20)
    first, second = degrade(labelled, step, 3).dataset.pictures
    again = degrade(labelled, step, 3).dataset.pictures[1]
    assert np.array_equal(second.read(), again.read())
    assert not np.array_equal(first.read()[:60, :60], second.read()[:60, :60])
    other = degrade(labelled, step, 4).dataset.pictures[1]
    assert not np.array_equal(second.read(), other.read())


def test_people_of_smaller_frames_are_where_they_are_drawn(labelled: PoseDataset):
    found = degrade(labelled, Degradation("resolution", 0.3), 0)
    assert found.scales == pytest.approx(np.full((2, 2), 0.3))
    picture = found.dataset.pictures[0]
    image = picture.read()
    assert image.shape == (picture.height, picture.width, 3) == (96, 96, 3)
    x1, y1, x2, y2 = found.dataset.boxes[0].astype(int)
    assert image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() == 50
    back = found.to_source(found.dataset.keypoints[..., :2], found.dataset.picture_index)
    assert back == pytest.approx(labelled.keypoints[..., :2], abs=1e-3)


def poses(
    labelled: PoseDataset, engine: object, protocol: Protocol, step: Degradation | None
) -> tuple[PredictedPoses, list[int]]:
    done: list[int] = []
    found = asyncio.run(
        measure(PosePipeline(engine), labelled, "auto", protocol, step, done.append)
    )
    return found, done


# The engine knows people by their grey level, so the noise must not be too strong.
@pytest.mark.parametrize(
    "step",
    [None, *(step for step in DEGRADATIONS if step.name != "noise=40")],
    ids=lambda step: step.name if step else "clean",
)
def test_poses_are_told_in_pixels_of_the_source(
    labelled: PoseDataset, engine_for: EngineFor, step: Degradation | None
):
    found, done = poses(labelled, engine_for(labelled), Protocol(), step)
    assert done == [1, 2]
    assert found.own[..., :2] == pytest.approx(labelled.keypoints[..., :2], abs=0.05)
    # One crop pixel squared: crops of 150 and 75 pixels are 64 wide.
    expected = np.broadcast_to(np.array([150, 75])[:, None, None] / 64, (2, 17, 2)) ** 2
    assert found.own_variances == pytest.approx(expected, rel=1e-3)
    assert found.predictions.boxes == pytest.approx(labelled.boxes, abs=0.01)
    assert found.predictions.keypoints[..., :2] == pytest.approx(found.own[..., :2])


def test_given_boxes_shrink_with_the_frame(labelled: PoseDataset, engine_for: EngineFor):
    given = DetectedBoxes(
        tuple(labelled.boxes[[i]].astype(np.float32) for i in range(2)),
        (np.array([0.9], np.float32), np.array([0.8], np.float32)),
        left_out=0,
    )
    protocol = Protocol("detected", detections=given)
    found, _ = poses(labelled, engine_for(labelled), protocol, Degradation("resolution", 0.5))
    assert found.own[..., :2] == pytest.approx(labelled.keypoints[..., :2], abs=0.05)
    assert found.predictions.boxes == pytest.approx(labelled.boxes, abs=0.01)
