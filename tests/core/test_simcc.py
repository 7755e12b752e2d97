from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpose.simcc import decode, gaussian_labels, softmax


def labels(x: float, y: float, resolution: int, k: int, sigma: float) -> list[np.ndarray]:
    return [gaussian_labels(np.array([[v]]), resolution, k, sigma)[0] for v in (x, y)]


@given(
    x=st.floats(8, 55),
    y=st.floats(8, 55),
    k=st.integers(1, 4),
    sigma_pixels=st.floats(0.5, 1.2),
)
def test_decoding_a_label_gives_its_position_back(x: float, y: float, k: int, sigma_pixels: float):
    found = decode(*labels(x, y, 64, k, sigma_pixels * k), k, sigma_pixels * k)
    assert np.abs(found.keypoints[0, 0] - (x, y)).max() < 0.06
    # A label between two bins peaks lower than one on a bin, by half a bin of its gaussian.
    assert found.scores[0, 0] >= 0.99 * np.exp(-0.125 / (sigma_pixels * k) ** 2)


def test_a_label_on_a_bin_scores_one_and_has_the_labels_own_variance():
    found = decode(*labels(20, 30, 64, 3, 3.0), 3, 3.0)
    assert found.scores[0, 0] == pytest.approx(1, abs=1e-3)
    # sigma is 3 bins = 1 pixel; the window of 3 pixels cuts the tails off.
    assert found.variances[0, 0] == pytest.approx([0.97, 0.97], abs=0.03)


def test_label_smoothing_does_not_look_like_spread():
    sharp = labels(20, 30, 64, 3, 3.0)
    smoothed = [0.9 * p + 0.1 / p.shape[-1] for p in sharp]
    expected = decode(*sharp, 3, 3.0).variances
    assert decode(*smoothed, 3, 3.0).variances == pytest.approx(expected, rel=0.01)


def test_a_flat_prediction_scores_almost_nothing_and_stays_finite():
    flat = np.full((1, 1, 192), 1 / 192, np.float32)
    found = decode(flat, flat, 3, 4.0)
    assert found.scores[0, 0] < 0.06
    assert np.isfinite(found.variances).all()


def test_the_second_of_two_peaks_does_not_pull_the_position():
    one, other = (gaussian_labels(np.array([[v]]), 64, 3, 3.0)[0] for v in (10.0, 50.0))
    found = decode(0.7 * one + 0.3 * other, one, 3, 3.0)
    assert found.keypoints[0, 0, 0] == pytest.approx(10, abs=0.1)


def test_argmax_is_the_bin_of_the_peak():
    found = decode(*labels(20.4, 30, 64, 3, 3.0), 3, 3.0, decoding="argmax")
    assert found.keypoints[0, 0].tolist() == pytest.approx([61 / 3, 30])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("normalized", 0.05 / (1 / (4 * np.sqrt(2 * np.pi)))),
        ("raw_min", 0.05),
        ("raw_max", 0.4),  # four times a gaussian label's own peak: not cut off at 1
    ],
)
def test_scores_are_made_of_the_peaks_of_both_axes(score: str, expected: float):
    x, y = (np.full((1, 1, 64), (1 - peak) / 63, np.float32) for peak in (0.4, 0.05))
    x[..., 10], y[..., 20] = 0.4, 0.05
    found = decode(x, y, 1, 4.0, score=score)
    assert found.scores.tolist() == [[pytest.approx(expected)]]
    assert decode(y, x, 1, 4.0, score=score).scores == pytest.approx(found.scores)


def test_a_normalized_score_is_at_most_1():
    sharp = np.zeros((1, 1, 64), np.float32)
    sharp[..., 10] = 1
    assert decode(sharp, sharp, 1, 4.0).scores.tolist() == [[1]]
    assert decode(sharp, sharp, 1, 0.1, score="raw_min").scores.tolist() == [[1]]


@pytest.mark.parametrize(
    ("position", "inside"),
    [
        (0.0, True),
        (-0.16, True),  # rounds to bin 0
        (-0.2, False),  # rounds to bin -1
        (63.8, True),  # rounds to bin 191, the last
        (63.9, False),  # rounds to bin 192
        (500.0, False),
    ],
)
def test_a_joint_outside_the_crop_has_no_label(position: float, inside: bool):
    distribution, found = gaussian_labels(np.array([position]), 64, 3, 4.0)
    assert found.tolist() == [inside]
    assert np.isfinite(distribution).all()


def test_softmax_survives_large_logits():
    assert softmax(np.array([1e4, 1e4])).tolist() == [0.5, 0.5]
