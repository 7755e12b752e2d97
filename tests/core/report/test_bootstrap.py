from __future__ import annotations

import numpy as np
import pytest

from farpose.evaluation.report.bootstrap import Draws, Estimate, too_few

PICTURES = np.array([0, 0, 1, 2, 2, 2])


def draws(used: int = 3, of: int = 3, seed: int = 0, resamples: int = 200) -> Draws:
    return Draws.of(of, np.arange(used), seed=seed, resamples=resamples)


def test_every_draw_has_as_many_pictures_as_are_used_and_no_others():
    found = draws(used=3, of=5)
    assert found.counts.shape == (200, 5)
    assert set(found.counts[:, :3].sum(axis=1)) == {3}
    assert not found.counts[:, 3:].any()


def test_a_seed_gives_the_same_draws_again():
    assert np.array_equal(draws(seed=4).counts, draws(seed=4).counts)
    assert not np.array_equal(draws(seed=4).counts, draws(seed=5).counts)


def test_the_mean_of_a_draw_is_that_of_its_people():
    values = np.array([1.0, 2.0, 4.0, 8.0, np.nan, 16.0])
    found = draws()
    estimate = found.mean(values, PICTURES)
    assert estimate.value == pytest.approx(31 / 5)
    for counts, sample in zip(found.counts.astype(int), estimate.samples, strict=True):
        drawn = np.concatenate([np.tile(values[i == PICTURES], n) for i, n in enumerate(counts)])
        assert sample == pytest.approx(np.nanmean(drawn))


def test_the_mean_of_joints_counts_joints_not_people():
    values = np.array([[1.0, np.nan], [1.0, np.nan], [0.0, 0.0], [np.nan] * 2, [1, 1], [0, 1]])
    assert draws().mean(values, PICTURES).value == pytest.approx(5 / 8)


def test_a_draw_without_a_value_is_nan_and_left_out_of_the_interval():
    estimate = draws().mean(np.array([3.0, 3, np.nan, np.nan, np.nan, np.nan]), PICTURES)
    assert np.isnan(estimate.samples).any()
    assert estimate.interval == (3, 3)


def test_nothing_to_compute_from_is_nan():
    estimate = draws().mean(np.full(6, np.nan), PICTURES)
    assert np.isnan([estimate.value, *estimate.interval]).all()
    assert not estimate.differs_from_zero


def test_the_interval_of_independent_people_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = Draws.of(400, np.arange(400), seed=1, resamples=2000)
    low, high = found.mean(values, np.arange(400)).interval
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.1)
    assert low < 5 < high


def test_people_of_one_picture_who_are_alike_count_as_one():
    # Twenty people in each of 20 pictures, all of one picture the same.
    of_picture = np.random.default_rng(0).normal(0, 1, 20)
    pictures = np.repeat(np.arange(20), 20)
    found = Draws.of(20, np.arange(20), seed=1)
    many = found.mean(of_picture[pictures], pictures).interval
    assert many == pytest.approx(found.mean(of_picture, np.arange(20)).interval)


def test_differences_are_paired():
    values = np.arange(6.0)
    found = draws()
    one, other = found.mean(values + 0.1, PICTURES), found.mean(values, PICTURES)
    difference = one - other
    assert difference.value == pytest.approx(0.1)
    assert difference.interval == pytest.approx((0.1, 0.1))
    assert difference.differs_from_zero
    assert (other - one).differs_from_zero
    assert not (one - one).differs_from_zero


def test_an_interval_is_the_middle_95_percent():
    estimate = Estimate(0.5, np.linspace(0, 1, 1001))
    assert estimate.interval == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize(
    ("people", "pictures", "few"),
    [
        (20, 5, False),
        (19, 19, True),
        (100, 4, True),  # however many people: over four pictures an interval means nothing
        (0, 0, True),
    ],
)
def test_too_few(people: int, pictures: int, few: bool):
    assert too_few(people, pictures) is few
