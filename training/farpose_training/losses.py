"""The SimCC loss: cross-entropy against the label distribution, as a KL divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from farpose_training.config import SimCCConfig
from farpose_training.models.simcc import Logits


def gaussian_labels(positions: Tensor, classes: int, split_factor: int, sigma: float) -> Tensor:
    """Distributions `[B,J,L]` around positions `[B,J]` (crop pixels); `sigma` in bins.

    The same labels as `farpose.simcc.gaussian_labels`.
    """
    bins = torch.arange(classes, dtype=torch.float32, device=positions.device)
    distances = bins - positions[..., None] * split_factor
    return torch.softmax(-(distances**2) / (2 * sigma**2), dim=-1)


def smooth_labels(positions: Tensor, classes: int, split_factor: int, smoothing: float) -> Tensor:
    """Distributions `[B,J,L]` with `1 - smoothing` in the bin of each position `[B,J]`.

    The other bins share the rest (Li et al., ECCV 2022).
    """
    bins = (positions * split_factor).round().long().clamp(0, classes - 1)
    labels = positions.new_full((*positions.shape, classes), smoothing / (classes - 1))
    return labels.scatter_(-1, bins[..., None], 1 - smoothing)


def inside(keypoints: Tensor, classes: int, split_factor: int) -> Tensor:
    """`[B,J]` whether the bins of both axes of keypoints `[B,J,2]` (crop pixels) exist."""
    bins = (keypoints * split_factor).round()
    return ((bins >= 0) & (bins < classes)).all(-1)


def simcc_loss(
    logits: Logits, keypoints: Tensor, weights: Tensor, config: SimCCConfig
) -> tuple[Tensor, Tensor]:
    """KL(label || prediction), summed over bins and visible joints, x and y added.

    Args:
        logits: `[B,J,L]` per axis.
        keypoints: `[B,J,2]` crop pixels.
        weights: `[B,J]` 1 for labelled joints; a joint whose bin lies outside the crop counts as
            unlabelled.
        config: the labels.

    Returns:
        The sum, and the number of visible joints to divide it by (the caller's, since several
        processes may share a batch).
    """
    classes = logits.x.shape[-1]
    visible = weights * inside(keypoints, classes, config.split_factor)
    total = logits.x.new_zeros((), dtype=torch.float32)
    for axis, axis_logits in enumerate(logits):
        positions = keypoints[..., axis]
        if config.labels == "gaussian":
            labels = gaussian_labels(positions, classes, config.split_factor, config.sigma)
        else:
            labels = smooth_labels(positions, classes, config.split_factor, config.smoothing)
        log_probabilities = axis_logits.float().log_softmax(-1)
        divergence = (torch.xlogy(labels, labels) - labels * log_probabilities).sum(-1)
        total = total + (divergence * visible).sum()
    return total, visible.sum()


def task_loss(
    prediction: Logits, keypoints: Tensor, weights: Tensor, config: SimCCConfig
) -> tuple[Tensor, Tensor]:
    """The loss of a head's prediction, summed over visible joints, and their number."""
    return simcc_loss(prediction, keypoints, weights, config)
