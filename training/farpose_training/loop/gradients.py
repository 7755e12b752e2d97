"""How strongly each part of the loss pulls at the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def gradient_ratios(
    terms: Mapping[str, Tensor],
    weights: Mapping[str, float],
    parameters: Sequence[Tensor],
    mean: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """`|weight * grad term| / |grad task|` for every weighted term.

    A ratio far below 1e-3 says that the term does nothing. The graph of the terms is kept.

    Args:
        terms: losses of one batch, `task` among them.
        weights: the weight in the total of the terms to compare with `task`.
        parameters: of the student.
        mean: the mean of a gradient over processes.

    Returns:
        Nothing where the task has no gradient, as in a batch without labelled joints.
    """

    def norm(name: str) -> float:
        gradients = torch.autograd.grad(
            terms[name],
            parameters,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return float(mean(torch.cat([gradient.flatten() for gradient in gradients])).norm())

    task = norm("task") if weights else 0.0
    return {name: weight * norm(name) / task for name, weight in weights.items()} if task else {}
