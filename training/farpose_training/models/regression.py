"""The regression head of residual log-likelihood estimation (RLE, Li et al., ICCV 2021).

A joint is two coordinates and their spreads. A normalising flow, shared by the joints, learns what
errors look like beyond a Laplace distribution; it is part of the loss and of no exported graph.

Positions inside the head are fractions of the crop: 0 is its centre, index R/2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

COUPLINGS = 6
WIDTH = 64
MIN_SPREAD = 1e-4
"""Of a crop: a hundredth of a pixel at most."""


class RealNVP(nn.Module):
    """A density over 2-vectors: affine couplings that take turns on the two axes.

    Dinh et al., "Density estimation using Real NVP", ICLR 2017.
    """

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        mask = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(COUPLINGS // 2, 1)
        self.register_buffer("mask", mask, persistent=False)
        self.scale = nn.ModuleList(_perceptron(nn.Tanh()) for _ in range(COUPLINGS))
        self.shift = nn.ModuleList(_perceptron(nn.Identity()) for _ in range(COUPLINGS))

    def log_density(self, points: Tensor) -> Tensor:
        """`[N]` at points `[N,2]`."""
        log_determinant = points.new_zeros(len(points))
        z = points
        for mask, scale, shift in zip(
            reversed(self.mask.unbind()), reversed(self.scale), reversed(self.shift), strict=True
        ):
            kept = z * mask
            s, t = scale(kept) * (1 - mask), shift(kept) * (1 - mask)
            z = (1 - mask) * (z - t) * torch.exp(-s) + kept
            log_determinant = log_determinant - s.sum(-1)
        return log_determinant - (z**2).sum(-1) / 2 - math.log(2 * math.pi)


def _perceptron(last: nn.Module) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Linear(2, WIDTH),
        nn.LeakyReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.LeakyReLU(),
        nn.Linear(WIDTH, 2),
        last,
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
    return layers


class Regression(NamedTuple):
    """What the head says."""

    positions: Tensor
    """`[B,J,2]` fractions of the crop from its centre."""

    spreads: Tensor
    """`[B,J,2]` of a Laplace distribution, fractions of the crop, above 0 and below 1."""

    flow: RealNVP
    """For the loss."""

    resolution: int
    """`R`, for the loss."""


class RegressionHead(nn.Module):
    """Average over space, then one linear layer to positions and spreads."""

    def __init__(self, channels: int, joints: int, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.joints = joints
        self.linear = nn.Linear(channels, joints * 4)
        self.flow = RealNVP()

    def forward(self, feature: Tensor) -> Regression:
        """Feature `[B,C,H,W]` to positions and spreads."""
        values = self.linear(feature.mean((2, 3))).unflatten(1, (self.joints, 4))
        spreads = values[..., 2:].sigmoid().clamp(min=MIN_SPREAD)
        return Regression(values[..., :2], spreads, self.flow, self.resolution)


class RegressionDecoder(nn.Module):
    """Positions in crop pixels; the score is 1 minus the mean spread."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    def forward(self, prediction: Regression) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints `[B,J,2]` crop pixels, scores `[B,J]`, variances `[B,J,2]` pixels squared.

        The variance is that of the Laplace distribution, twice its spread squared.
        """
        keypoints = (prediction.positions + 0.5) * self.resolution
        spreads = prediction.spreads
        return keypoints, 1 - spreads.mean(-1), 2 * (spreads * self.resolution) ** 2
