"""SimCC coordinates in NumPy: a position is a class among `L = k * R` bins per axis.

This is the reference that exported graphs are checked against. Positions are crop pixels
(pixel-centre indices); bin `b` of an axis stands for position `b / k`, where `k` is the split
factor. Source: Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose
Estimation", ECCV 2022; gaussian labels and the normalised score follow its SA-SimCC variant.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_PIXELS: Final = 3
"""Expectation and variance look this many crop pixels to each side of the peak."""

Decoding = Literal["expectation", "argmax"]

Score = Literal["normalized", "raw_min", "raw_max"]
"""What a joint's score is made of its two peak probabilities: the smaller one over the label's own
peak, at most 1, or the smaller or the larger one as it is."""


class Decoded(NamedTuple):
    """What a SimCC prediction says about each joint."""

    keypoints: NDArray[np.float32]
    """`[N,J,2]` crop pixels."""

    scores: NDArray[np.float32]
    """`[N,J]` 0..1; if `normalized`, 1 is as sure as the label itself."""

    variances: NDArray[np.float32]
    """`[N,J,2]` crop pixels squared."""


def gaussian_labels(
    positions: NDArray[np.floating], resolution: int, split_factor: int, sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Target distributions of one axis.

    Args:
        positions: `[...]` crop pixels along the axis.
        resolution: `R`.
        split_factor: `k`.
        sigma: standard deviation of the label in bins.

    Returns:
        Distributions `[...,L]` that sum to 1, and `[...]` whether the bin lies inside the crop.
    """
    bins = np.arange(resolution * split_factor, dtype=np.float32)
    centers = np.asarray(positions, np.float32) * split_factor
    labels = np.exp(-((bins - centers[..., None]) ** 2) / (2 * sigma**2))
    inside = (np.rint(centers) >= 0) & (np.rint(centers) < len(bins))
    total = labels.sum(axis=-1, keepdims=True)
    return labels / np.maximum(total, np.finfo(np.float32).tiny), inside


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.asarray(logits, np.float32) - np.max(logits, axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)


def decode(
    probabilities_x: NDArray[np.floating],
    probabilities_y: NDArray[np.floating],
    split_factor: int,
    sigma: float,
    decoding: Decoding = "expectation",
    score: Score = "normalized",
) -> Decoded:
    """Turn distributions over bins into positions, scores and variances.

    Args:
        probabilities_x: `[N,J,L]`, each summing to 1.
        probabilities_y: `[N,J,L]`.
        split_factor: `k`.
        sigma: standard deviation of the training label in bins; it sets what a score of 1 is.
        decoding: `expectation` over a window of 3 crop pixels to each side of the peak, or the
            `argmax` of the SimCC paper.
        score: what the scores are.
    """
    axes = [
        _decode_axis(np.asarray(p, np.float32), split_factor, decoding)
        for p in (probabilities_x, probabilities_y)
    ]
    label_peak = 1 / (sigma * math.sqrt(2 * math.pi))
    return Decoded(
        keypoints=np.stack([axis.position for axis in axes], axis=-1),
        scores=_scores(axes[0].peak, axes[1].peak, label_peak, score),
        variances=np.stack([axis.variance for axis in axes], axis=-1),
    )


def _scores(
    peak_x: NDArray[np.float32], peak_y: NDArray[np.float32], label_peak: float, score: Score
) -> NDArray[np.float32]:
    if score == "raw_max":
        return np.maximum(peak_x, peak_y)
    smaller = np.minimum(peak_x, peak_y)
    if score == "raw_min":
        return smaller
    return np.minimum(smaller / np.float32(label_peak), np.float32(1))


class _Axis(NamedTuple):
    position: NDArray[np.float32]
    peak: NDArray[np.float32]
    variance: NDArray[np.float32]


def _decode_axis(p: NDArray[np.float32], split_factor: int, decoding: Decoding) -> _Axis:
    classes = p.shape[-1]
    bins = np.arange(classes, dtype=np.float32)
    argmax = p.argmax(axis=-1)
    peak = p.max(axis=-1)
    window = np.abs(bins - argmax[..., None]) <= WINDOW_PIXELS * split_factor

    inside = np.where(window, p, 0)
    mass = inside.sum(axis=-1)
    if decoding == "argmax":
        mean = argmax.astype(np.float32)
    else:
        mean = (inside * bins).sum(axis=-1) / mass

    # Label smoothing and doubt spread mass evenly over all bins: the mean outside the window is
    # that floor. A hair of uniform weight keeps the variance of a flat distribution defined.
    outside_bins = np.maximum(classes - window.sum(axis=-1), 1)
    floor = (1 - mass) / outside_bins
    above = np.where(window, np.maximum(p - floor[..., None], 0) + np.float32(1e-9), 0)
    squares = (bins - mean[..., None]) ** 2
    variance = (above * squares).sum(axis=-1) / above.sum(axis=-1)
    return _Axis(
        position=(mean / split_factor).astype(np.float32),
        peak=peak,
        variance=(variance / split_factor**2).astype(np.float32),
    )
