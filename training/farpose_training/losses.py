"""The SimCC loss: cross-entropy against gaussian labels, as a KL divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from farpose_training.models.simcc import Logits


def gaussian_labels(positions: Tensor, classes: int, split_factor: int, sigma: float) -> Tensor:
    """Distributions `[B,J,L]` around positions `[B,J]` (crop pixels); `sigma` in bins.

    The same labels as `farpose.simcc.gaussian_labels`.
    """
    bins = torch.arange(classes, dtype=torch.float32, device=positions.device)
    distances = bins - positions[..., None] * split_factor
    return torch.softmax(-(distances**2) / (2 * sigma**2), dim=-1)


def simcc_loss(
    logits: Logits, keypoints: Tensor, weights: Tensor, split_factor: int, sigma: float
) -> Tensor:
    """KL(label || prediction), summed over bins, averaged over visible joints, x and y added.

    Args:
        logits: `[B,J,L]` per axis.
        keypoints: `[B,J,2]` crop pixels.
        weights: `[B,J]` 1 for labelled joints; a joint whose bin lies outside the crop counts as
            unlabelled.
        split_factor: `k`.
        sigma: of the labels, in bins.

    Returns:
        A scalar; 0 when no joint of the batch is visible.
    """
    classes = logits.x.shape[-1]
    bins = (keypoints * split_factor).round()
    visible = weights * ((bins >= 0) & (bins < classes)).all(-1)
    total = keypoints.new_zeros(())
    for axis, axis_logits in enumerate(logits):
        labels = gaussian_labels(keypoints[..., axis], classes, split_factor, sigma)
        log_probabilities = axis_logits.log_softmax(-1)
        divergence = (torch.xlogy(labels, labels) - labels * log_probabilities).sum(-1)
        total = total + (divergence * visible).sum()
    return total / visible.sum().clamp(min=1)
