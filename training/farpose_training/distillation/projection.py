"""The cosine distance of a sum of projections to a feature, without keeping the projections.

`K` projections of `[B,C,L]` are most of what it costs to distil a feature into a small student, and
on a CPU passing over them takes longer than the matrix products. So the sample at hand is compared
and differentiated while it is in the cache, and only the gradients of the inputs and the matrices,
which are small, are kept for the backward pass.

Shapes: B batch, C channels, D inputs of a projection, L its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from farpose_training.distillation.features import EPSILON

CHUNK_VALUES = 2**22
"""Values of one projection that are made at a time: with fewer, products slow down on a CPU."""

ALIGNMENTS = {torch.bfloat16: 32}
"""Inputs are padded to a multiple of this, as many as a CPU's bfloat16 tile is wide; else of 8."""


def projected_cosine_distance(
    inputs: Sequence[Tensor],
    scales: Sequence[Tensor],
    layers: Sequence[torch.nn.Linear],
    wanted: Tensor,
) -> Tensor:
    """`cosine_distance(sum over k of relu(W_k x_k + s_k b_k), wanted)`.

    Under autocast the products are made in its type; sums and distances are in float32.

    Args:
        inputs: `x_k` `[B,C,D]`.
        scales: `s_k` `[B,C]`.
        layers: `W_k` `[L,D]` and `b_k` `[L]`.
        wanted: `[B,C,L]`; no gradient reaches it.
    """
    device = wanted.device.type
    autocast = torch.is_autocast_enabled(device)
    kind = torch.get_autocast_dtype(device) if autocast else inputs[0].dtype
    # The bias is one more input, and zeros fill the row up.
    rows = [
        torch.nn.functional.pad(
            torch.cat([x.to(kind), s.to(kind)[..., None]], dim=-1),
            (0, -(x.shape[-1] + 1) % ALIGNMENTS.get(kind, 8)),
        )
        for x, s in zip(inputs, scales, strict=True)
    ]
    parameters = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    with torch.autocast(device, enabled=False):
        return _Distance.apply(  # type: ignore[no-any-return, no-untyped-call]
            wanted.detach(), torch.is_grad_enabled(), *rows, *parameters
        )


class _Distance(torch.autograd.Function):
    """The distance, whose gradient is found together with it."""

    @staticmethod
    def forward(ctx: Any, wanted: Tensor, learning: bool, *tensors: Tensor) -> Tensor:
        count = len(tensors) // 3
        rows, weights, biases = (tensors[i * count : (i + 1) * count] for i in range(3))
        matrices = [_matrix(*three) for three in zip(weights, biases, rows, strict=True)]
        exact = torch.promote_types(rows[0].dtype, torch.float32)
        samples, channels, outputs = wanted.shape
        step = min(samples, max(1, CHUNK_VALUES // (channels * outputs)))
        made = rows[0].new_empty(count, step * channels, outputs)
        row_gradients = [torch.empty_like(r) for r in rows] if learning else []
        matrix_gradients = [torch.zeros_like(m, dtype=exact) for m in matrices] if learning else []
        total = wanted.new_zeros((), dtype=exact)
        for start in range(0, samples, step):
            targets = wanted[start : start + step].flatten(1)
            given = [r[start : start + step].flatten(0, 1) for r in rows]
            projections = made[:, : len(targets) * channels]
            for projection, inputs, matrix in zip(projections, given, matrices, strict=True):
                torch.mm(inputs, matrix.t(), out=projection)
            per_sample = projections.view(count, len(targets), -1)
            at_once = len(targets) if wanted.is_cuda else 1
            compared = [
                _compare(few, target.to(exact))
                for few, target in zip(
                    per_sample.split(at_once, dim=1), targets.split(at_once), strict=True
                )
            ]
            total += torch.cat([distance for distance, _ in compared]).sum()
            if not learning:
                continue
            factor = torch.cat([factor for _, factor in compared]) / samples
            factor = factor.repeat_interleave(channels)[:, None].to(made.dtype)
            for k, (projection, inputs) in enumerate(zip(projections, given, strict=True)):
                found = (projection @ matrices[k]).mul_(factor)
                row_gradients[k][start : start + step] = found.unflatten(0, (-1, channels))
                matrix_gradients[k] += (projection.t() @ (inputs * factor)).to(exact)
        ctx.save_for_backward(*row_gradients, *matrix_gradients)
        ctx.inputs = weights[0].shape[1]
        return total / samples

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        count, size = len(ctx.saved_tensors) // 2, ctx.inputs
        rows, matrices = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        return (
            None,
            None,
            *(gradient.to(r.dtype) * r for r in rows),
            *(gradient * m[:, :size] for m in matrices),
            *(gradient * m[:, size] for m in matrices),
        )


def _matrix(weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """`[L,D']` that the padded rows are multiplied by, in their type."""
    matrix = rows.new_zeros(len(weight), rows.shape[-1])
    matrix[:, : weight.shape[1]] = weight
    matrix[:, weight.shape[1]] = bias
    return matrix


def _compare(projections: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """`1 - cos` `[n]` of the sum of rectified projections `[K,n,CL]` to features `[n,CL]`.

    The projections become their own gradients, but for the factor `[n]` that is returned too: with
    `F` the sum, `t` the feature and `N` their squared norms, `d(1 - cos)/dF` is
    `(F . t / N_F) F - t` over `sqrt(N_F N_t)`.
    """
    # bfloat16 is negative where its bits are as an integer, and integers are many times faster.
    bits = torch.int16 if projections.dtype == torch.bfloat16 else projections.dtype
    projections.view(bits).clamp_min_(0)
    found = projections[0].to(wanted.dtype, copy=True)
    for other in projections[1:]:
        found += other.to(wanted.dtype)
    dot = _dots(found, wanted)
    norm = _dots(found, found) + EPSILON
    factor = torch.rsqrt(norm * (_dots(wanted, wanted) + EPSILON))
    gradient = found.mul_((dot / norm)[:, None]).sub_(wanted).to(projections.dtype)
    # 1 where the projection is positive, else 0.
    positive = projections.view(bits).clamp_max_(1) if bits == torch.int16 else projections.sign_()
    positive.mul_(gradient.view(bits))
    return 1 - dot * factor, factor


def _dots(first: Tensor, second: Tensor) -> Tensor:
    """Dot products `[n]` of rows `[n,L]`."""
    return (first[:, None] @ second[:, :, None]).flatten()
