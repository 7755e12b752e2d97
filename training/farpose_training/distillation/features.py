"""What feature distillers share: the loss, and matching the number of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-6


def cosine_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the batch of `1 - cos`, of features `[B,C,H,W]` as flat vectors.

    The epsilon is inside the norms, so that the gradient of a zero feature is finite.
    """
    found, wanted = found.float().flatten(1), wanted.float().flatten(1)
    dot = (found * wanted).sum(1)
    norms = ((found**2).sum(1) + EPSILON) * ((wanted**2).sum(1) + EPSILON)
    return (1 - dot * torch.rsqrt(norms)).mean()


def match_channels(channels: int, wanted: int) -> nn.Module:
    """A 1x1 convolution where the numbers of channels differ."""
    return nn.Identity() if channels == wanted else nn.Conv2d(channels, wanted, 1)
