"""Easy-to-hard training: an adversary makes the distillation harder over time.

A scalar `theta` sets the temperature. Its gradient is reversed, so that it climbs the loss that the
student descends, faster as `xi` grows from 0 to 1 (after Li et al., Curriculum Temperature for
Knowledge Distillation, AAAI 2023).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from farpose_training.config import EasyToHardConfig


def difficulty(epoch: int, epochs: int) -> float:
    """`xi` of epoch `epoch` (from 0): `(1 - cos(pi min(epoch / epochs, 1))) / 2`."""
    return 0.5 * (1 - math.cos(math.pi * min(epoch / epochs, 1)))


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.weight * gradient, None


def reverse_gradient(value: Tensor, weight: float = 1.0) -> Tensor:
    """`value`, whose gradient is multiplied by `-weight`."""
    return _ReverseGradient.apply(value, weight)  # type: ignore[no-any-return, no-untyped-call]


class Adversary(nn.Module):
    """The temperature, and the loss weights if they are learned too.

    Args:
        config: schedule, range and optimiser.
        alpha: weight of the feature loss.
        beta: weight of the logit loss.
    """

    def __init__(self, config: EasyToHardConfig, alpha: float, beta: float) -> None:
        super().__init__()
        self.config = config
        self.theta = nn.Parameter(torch.tensor(float(config.theta)))
        self._start = {"alpha": alpha, "beta": beta}
        # 2 a sigmoid(0) = a: a learned weight starts where it is set, and stays below twice that.
        self.weights = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(()))
                for name, learned in (("alpha", config.learn_alpha), ("beta", config.learn_beta))
                if learned
            }
        )
        self.xi = 0.0

    def tau(self) -> Tensor:
        """The temperature, `base + range * sigmoid(theta)`; its gradient is reversed."""
        return self.config.base + self.config.range * self._reversed(self.theta).sigmoid()

    def weight(self, name: str) -> Tensor:
        """`alpha` or `beta`; learned ones have a reversed gradient."""
        if name not in self.weights:
            return self.theta.new_tensor(self._start[name])
        return 2 * self._start[name] * self._reversed(self.weights[name]).sigmoid()

    def optimizer(self) -> torch.optim.Optimizer:
        """An optimiser of its own, without weight decay."""
        kind = torch.optim.Adam if self.config.optimizer == "adam" else torch.optim.SGD
        return kind(self.parameters(), lr=self.config.learning_rate)

    def start_epoch(self, epoch: int, epochs: int, optimizer: torch.optim.Optimizer) -> None:
        """Set `xi` for epoch `epoch` (from 0) of a run of `epochs`.

        Adam takes steps of one size however small the gradient is, so `xi` scales its learning
        rate; for SGD it scales the gradient.
        """
        self.xi = difficulty(epoch, self.config.epochs or epochs)
        if self.config.optimizer == "adam":
            for group in optimizer.param_groups:
                group["lr"] = self.xi * self.config.learning_rate

    def _reversed(self, value: Tensor) -> Tensor:
        return reverse_gradient(value, 1.0 if self.config.optimizer == "adam" else self.xi)
