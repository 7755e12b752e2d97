from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose_training.config import DegradationConfig
from farpose_training.data.degrade import Degradation, degrade, draw_degradation, motion_kernel

NOTHING = Degradation(None, None, None, None, None, seed=0)


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


@given(
    seed=st.integers(0, 10_000),
    blur=st.floats(0, 3),
    motion=st.floats(1, 9),
    resampling=st.floats(0.1, 1),
    noise=st.floats(0, 30),
    quality=st.integers(1, 100),
)
@settings(max_examples=60, deadline=None)
def test_drawn_strengths_stay_within_the_configured_ones(
    seed: int, blur: float, motion: float, resampling: float, noise: float, quality: int
):
    config = DegradationConfig(
        probability=1, blur=blur, motion=motion, resampling=resampling, noise=noise, quality=quality
    )
    drawn = draw_degradation(config, np.random.default_rng(seed))
    assert drawn.blur is None or 0 < drawn.blur <= blur
    assert drawn.motion is None or 1 <= drawn.motion[0] <= motion
    assert drawn.resampling is None or resampling <= drawn.resampling[0] <= 1
    assert drawn.noise is None or 0 <= drawn.noise <= noise
    assert drawn.quality is None or quality <= drawn.quality <= 100
