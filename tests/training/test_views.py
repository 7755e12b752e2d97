from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose.keypoints import COCO17
from farpose_training.config import AugmentationConfig, DegradationConfig
from farpose_training.data.augment import Augmenter, render, render_for_teacher
from farpose_training.data.degrade import Degradation, degrade, draw_degradation, motion_kernel

BOX = np.array([60.0, 40.0, 240.0, 360.0])
CONFIG = AugmentationConfig(shift=0.1, half_body=0, color=0.3)
NOTHING = Degradation(None, None, None, None, None, seed=0)


def dot_at(point: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:400, :300]
    blob = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 8.0**2))
    return np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, axis=2)


def middle(crop: np.ndarray) -> np.ndarray:
    gray, index = crop[:, :, 0].astype(float), np.arange(len(crop))
    return np.array([gray.sum(0) @ index, gray.sum(1) @ index]) / gray.sum()


@pytest.mark.parametrize("seed", range(6))
def test_teacher_and_student_see_a_dot_at_the_same_place(seed: int):
    point = np.array([150.0, 200.0])
    keypoints = np.tile([*point, 2], (17, 1)).astype(np.float32)
    augmenter = Augmenter(CONFIG.model_copy(update={"color": 0}), COCO17)
    view = augmenter.draw(BOX, keypoints, np.random.default_rng(seed))
    picture = dot_at(point)
    places = {r: middle(render(picture, view, r)) for r in (32, 64, 256)}
    places["teacher"] = middle(render_for_teacher(picture, view, 256))
    for resolution in (32, 64, 256):
        joints, _ = augmenter.joints(view, keypoints, resolution)
        assert np.abs(places[resolution] - joints[0]).max() < 0.05 * max(1, resolution / 64)
        # Exactly m times further at a resolution m times as large.
        large, _ = augmenter.joints(view, keypoints, 256)
        assert large[0] == pytest.approx(joints[0] * 256 / resolution, abs=1e-3)
    assert np.abs(places["teacher"] - places[256]).max() < 0.01


def test_the_teacher_sees_the_source_where_the_student_sees_it_small_and_degraded():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (400, 300, 3), dtype=np.uint8)
    keypoints = np.full((17, 3), 100, np.float32)
    blurred = DegradationConfig(probability=1, noise=0)
    config = CONFIG.model_copy(update={"heights": (20, 20), "degradation": blurred})
    view = Augmenter(config, COCO17).draw(BOX, keypoints, np.random.default_rng(1))
    assert view.shrinking == pytest.approx(20 / 320)
    plain = replace(view, shrinking=1.0, degradation=None)
    assert (render_for_teacher(picture, view, 256) == render(picture, plain, 256)).all()

    def detail(crop: np.ndarray) -> float:
        return float(np.abs(np.diff(crop.astype(float), axis=0)).mean())

    assert detail(render(picture, view, 64)) < 0.6 * detail(render(picture, plain, 64))


def test_degradations_of_one_view_are_the_same_each_time():
    picture = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    config = CONFIG.model_copy(update={"degradation": DegradationConfig(probability=1)})
    view = Augmenter(config, COCO17).draw(
        BOX, np.full((17, 3), 100, np.float32), np.random.default_rng(1)
    )
    assert (render(picture, view, 64) == render(picture, view, 64)).all()


@given(seed=st.integers(0, 10_000), height=st.integers(2, 40), width=st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_a_degraded_picture_keeps_its_size_and_type(seed: int, height: int, width: int):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    degraded = degrade(picture, draw_degradation(DegradationConfig(probability=1), rng))
    assert degraded.shape == picture.shape
    assert degraded.dtype == np.uint8


def test_without_strength_nothing_changes():
    picture = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    assert (degrade(picture, NOTHING) == picture).all()
    off = DegradationConfig(probability=1, blur=0, motion=0, resampling=1, noise=0, quality=100)
    assert replace(draw_degradation(off, np.random.default_rng(0)), seed=0) == NOTHING
    never = DegradationConfig(probability=0)
    assert replace(draw_degradation(never, np.random.default_rng(0)), seed=0) == NOTHING


@pytest.mark.parametrize(
    ("change", "softer"),
    [
        ({"blur": 1.5}, True),
        ({"motion": (5.0, 0.7)}, True),
        ({"resampling": (0.4, 3, 2)}, True),
        ({"noise": 12.0}, False),
        ({"quality": 20}, None),
    ],
)
def test_each_degradation_changes_the_picture_as_it_should(change: dict, softer: bool | None):
    rng = np.random.default_rng(4)
    texture = rng.integers(60, 190, (60, 60, 3), dtype=np.uint8)
    flat = np.full((60, 60, 3), 120, np.uint8)
    picture = flat if softer is False else texture
    degraded = degrade(picture, replace(NOTHING, **change))
    assert not (degraded == picture).all()
    if softer is not None:
        assert (degraded.std() < picture.std()) == softer
    assert abs(degraded.mean() - picture.mean()) < 3


@pytest.mark.parametrize("length", [1.0, 4.0, 7.3])
def test_a_motion_blur_keeps_light_and_place(length: float):
    kernel = motion_kernel(length, 0.6)
    index = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    assert kernel.sum(0) @ index == pytest.approx(0, abs=0.05)
    assert kernel.sum(1) @ index == pytest.approx(0, abs=0.05)
