"""What feature distillers share: the loss, and matching the number of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-6


def cosine_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the batch of `1 - cos`, of features `[B,...]` of one shape as flat vectors.

    The epsilon is inside the norms, so that the gradient of a zero feature is finite.
    """
    found, wanted = found.flatten(1), wanted.flatten(1).to(found.dtype)
    dot = (found * wanted).sum(1, dtype=torch.float32)
    norms = [(f**2).sum(1, dtype=torch.float32) + EPSILON for f in (found, wanted)]
    return (1 - dot * torch.rsqrt(norms[0] * norms[1])).mean()


def match_channels(channels: int, wanted: int) -> nn.Module:
    """A 1x1 convolution where the numbers of channels differ."""
    return nn.Identity() if channels == wanted else nn.Conv2d(channels, wanted, 1)
