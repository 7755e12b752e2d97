"""What each kind of head is trained with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from farpose_training.config import CalConfig, HeatmapConfig, SimCCConfig
from farpose_training.config.model import Head
from farpose_training.map_losses import cal_loss, heatmap_loss
from farpose_training.models.cal import MapsAndOffsets
from farpose_training.models.heatmap import Heatmaps
from farpose_training.models.regression import Regression
from farpose_training.models.simcc import Logits

Prediction = Logits | Heatmaps | MapsAndOffsets | Regression


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


def regression_loss(
    prediction: Regression, keypoints: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of the residual, summed over visible joints.

    The density of an error, in units of the predicted spread, is a Laplace distribution times what
    the flow learns (Li et al., ICCV 2021). The flow is evaluated in float32 under autocast too. See
    `simcc_loss` for arguments and result.
    """
    truth = keypoints / prediction.resolution - 0.5
    visible = weights * (truth.abs() <= 0.5).all(-1)
    spreads = prediction.spreads.float()
    chosen = visible > 0
    errors = ((prediction.positions.float() - truth) / spreads)[chosen]
    with torch.autocast(errors.device.type, enabled=False):
        flowed = prediction.flow.log_density(errors)
    laplace = -(errors.abs() + math.log(2)).sum(-1)
    spread = spreads.log().sum(-1)[chosen]
    return ((spread - laplace - flowed) * visible[chosen]).sum(), visible.sum()


def task_loss(
    prediction: Prediction, keypoints: Tensor, weights: Tensor, config: Head
) -> tuple[Tensor, Tensor]:
    """The loss of a head's prediction, summed over visible joints, and their number."""
    if isinstance(prediction, Heatmaps) and isinstance(config, HeatmapConfig):
        return heatmap_loss(prediction, keypoints, weights, config)
    if isinstance(prediction, MapsAndOffsets) and isinstance(config, CalConfig):
        return cal_loss(prediction, keypoints, weights, config)
    if isinstance(prediction, Regression):
        return regression_loss(prediction, keypoints, weights)
    if isinstance(prediction, Logits) and isinstance(config, SimCCConfig):
        return simcc_loss(prediction, keypoints, weights, config)
    raise TypeError(f"a {config.kind} head does not predict {type(prediction).__name__}")
