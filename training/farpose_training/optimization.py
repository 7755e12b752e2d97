"""What every training loop here shares: how weights are decayed, and how a run fails."""

from __future__ import annotations

from torch import nn


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Optimiser groups: matrices and kernels are decayed, biases and norms are not."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
