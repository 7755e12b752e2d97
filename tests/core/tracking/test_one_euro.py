"""The One-Euro filter rests, follows, and knows nothing of units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpose.tracking.one_euro import OneEuroFilter

EVERYBODY = np.ones(3, bool)
STEPS = st.lists(st.floats(0.005, 2.0), min_size=1, max_size=20)
PLACES = st.lists(st.floats(-1000, 1000), min_size=6, max_size=6)


def points(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(3, 2)


@given(PLACES, STEPS)
def test_what_rests_stays_where_it_is(places: list[float], steps: list[float]):
    smooth, there = OneEuroFilter(3), points(*places)
    for now in np.cumsum([0.5, *steps]):
        np.testing.assert_allclose(smooth(there, EVERYBODY, 100.0, now), there, atol=1e-3)


@given(STEPS, st.integers(0, 2**32 - 1))
def test_the_result_lies_between_what_was_and_what_is(steps: list[float], seed: int):
    random, smooth = np.random.default_rng(seed), OneEuroFilter(3)
    before = smooth(points(*random.normal(size=6)), EVERYBODY, 1.0, 0.5)
    for now in 0.5 + np.cumsum(steps):
        new = points(*random.normal(size=6))
        result = smooth(new, EVERYBODY, 1.0, now)
        low, high = np.minimum(before, new), np.maximum(before, new)
        assert (result >= low - 1e-6).all()
        assert (result <= high + 1e-6).all()
        before = result


def test_noise_is_halved_where_nothing_moves_and_motion_is_kept_up_with():
    random = np.random.default_rng(0)
    resting, walking = OneEuroFilter(3), OneEuroFilter(3)
    noise, left_over, lag = [], [], []
    for i in range(200):
        now = (i + 1) / 25
        jitter = random.normal(scale=1.0, size=(3, 2)).astype(np.float32)
        noise.append(jitter)
        left_over.append(resting(jitter, EVERYBODY, 100.0, now))
        place = np.full((3, 2), 100.0 * now, np.float32)  # a height per second
        lag.append(place - walking(place, EVERYBODY, 100.0, now))
    assert np.std(left_over[50:]) < 0.6 * np.std(noise[50:])
    # Behind by less than the way of two pictures, 4 pixels each.
    assert np.abs(lag[50:]).max() < 8


def test_a_person_twice_as_tall_is_smoothed_the_same():
    random = np.random.default_rng(1)
    small, tall = OneEuroFilter(3), OneEuroFilter(3)
    for i in range(20):
        place = points(*random.normal(size=6, scale=10))
        one = small(place, EVERYBODY, 50.0, (i + 1) / 10)
        two = tall(2 * place, EVERYBODY, 100.0, (i + 1) / 10)
        np.testing.assert_allclose(2 * one, two, rtol=1e-5)


def test_unknown_joints_pass_through_and_start_anew():
    smooth = OneEuroFilter(3)
    smooth(points(0, 0, 10, 10, 20, 20), EVERYBODY, 100.0, 0.1)
    without = np.array([True, False, True])
    gone = smooth(points(0, 0, 0, 0, 20, 20), without, 100.0, 0.2)
    assert gone[1].tolist() == [0, 0]
    back = smooth(points(0, 0, 50, 60, 20, 20), EVERYBODY, 100.0, 0.3)
    assert back[1].tolist() == [50, 60]


@pytest.mark.parametrize("rate", [5, 50])
def test_how_often_is_measured_does_not_change_how_fast_it_settles(rate: int):
    smooth = OneEuroFilter(3)
    smooth(points(*[0] * 6), EVERYBODY, 1e9, 0.1)
    result = None
    for i in range(rate):
        result = smooth(points(*[1] * 6), EVERYBODY, 1e9, 0.1 + (i + 1) / rate)
    # After a second at a cutoff of 1.5 Hz a step has all but arrived.
    assert 0.99 < result.min() <= 1
