"""The average of a network's weights over the steps, which is what is evaluated and kept."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from farpose_training.models.network import PoseNet


class AveragedWeights(nn.Module):
    """An exponential average of a network's weights and buffers.

    Its memory grows with the steps taken, so that it never lags the start. Unlike PyTorch's
    `AveragedModel` it collects the tensors once and not in every step, which for an HRNet with its
    1,800 took longer than the averaging. The network must therefore stay on its device.

    Args:
        network: what is trained.
        decay: per step, once there were many.
    """

    steps: Tensor

    def __init__(self, network: PoseNet, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._decay = decay
        means, values = _tensors(self.network), _tensors(network)
        pairs = list(zip(means, values, strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's present weights; the first are taken as they are."""
        taken = int(self.steps)
        weight = max(1 - self._decay, 9 / (10 + taken)) if taken else 1.0
        means, values = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(means, values, weight)
        for mean, value in self._copied:
            mean.copy_(value)
        self.steps += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(network.parameters(), network.buffers())]
