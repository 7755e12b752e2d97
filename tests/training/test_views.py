from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from farpose.keypoints import COCO17
from farpose_training.config import AugmentationConfig, DegradationConfig
from farpose_training.data.augment import Augmenter
from farpose_training.data.views import render, render_for_teacher

BOX = np.array([60.0, 40.0, 240.0, 360.0])
CONFIG = AugmentationConfig(shift=0.1, half_body=0, color=0.3)


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
