"""Cross-class alignment: a teacher with more bins teaches a student with fewer.

A teacher of `L_t = m L_s` bins per axis has `m` bins where the student has one. Its probabilities
are merged in groups of `m`; both distributions are then tempered and compared.

Shapes: B batch, J joints, L bins.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from farpose_training.config import ConfigError, LogitConfig
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.models.simcc import Logits

Align = Literal["centered", "paper"]


def class_ratio(teacher: TeacherShape, resolution: int, split_factor: int) -> int:
    """`m`, the teacher's bins per bin of the student.

    Args:
        teacher: the teacher's sizes.
        resolution: `R_s` of the student.
        split_factor: `k_s` of the student.

    Raises:
        ConfigError: it is no whole number.
    """
    bins = split_factor * resolution
    if teacher.bins % bins:
        raise ConfigError(
            f"distillation.logit: the teacher's {teacher.bins} bins (split factor "
            f"{teacher.split_factor} at {teacher.resolution}) are no multiple of the student's "
            f"{bins} (split factor {split_factor} at {resolution}): choose a split factor of the "
            "student that divides it"
        )
    return teacher.bins // bins


def merge(log_probabilities: Tensor, ratio: int, align: Align) -> Tensor:
    """Log-probabilities `[..., m L]` of the teacher as log-probabilities `[..., L]`.

    With `paper`, bin `j` gets `[jm, jm + m - 1]` (Eq. 6). Positions are rounded to bins, so that
    group lies `(m - 1) / 2m` of a student bin to the left of bin `j`'s own position. With
    `centered` it gets the bins around `jm`: for an even `m` half of each of the two at distance
    `m / 2`. What lies beyond the last group is added to the last bin, so mass is kept.

    Args:
        log_probabilities: at temperature 1, or tempered.
        ratio: `m`.
        align: which bins make a group.
    """
    if ratio == 1:
        return log_probabilities
    if align == "paper":
        return _sum_groups(log_probabilities.unflatten(-1, (-1, ratio)))
    before = ratio // 2  # bins of group j to the left of jm
    padded = nn.functional.pad(log_probabilities, (before, 0), value=-math.inf)
    groups = padded[..., : log_probabilities.shape[-1]].unflatten(-1, (-1, ratio))
    tail = log_probabilities[..., -before:].logsumexp(-1, keepdim=True)
    if ratio % 2:
        following = torch.cat([torch.full_like(groups[..., 1:, 0], -math.inf), tail], -1)
        return torch.logaddexp(_sum_groups(groups), following)
    # The bin between two groups counts half for each.
    halved = torch.cat([groups[..., :1] - math.log(2), groups[..., 1:]], -1)
    following = torch.cat([halved[..., 1:, 0], tail], -1)
    return torch.logaddexp(_sum_groups(halved), following)


def _sum_groups(groups: Tensor) -> Tensor:
    """`logsumexp` over the last axis of `[..., L, m]`: it is short, and slow where it is."""
    return groups.movedim(-1, 0).contiguous().logsumexp(0)


def tempered_divergence(teacher: Tensor, student: Tensor, tau: Tensor) -> Tensor:
    """`tau^2 KL(softmax(teacher / tau) || softmax(student / tau))` over the last axis.

    Args:
        teacher: logits or log-probabilities `[..., L]`.
        student: logits `[..., L]`.
        tau: scalar; gradients reach it through both distributions.
    """
    expected = (teacher.float() / tau).log_softmax(-1)
    found = (student.float() / tau).log_softmax(-1)
    return tau**2 * (expected.exp() * (expected - found)).sum(-1)


class LogitDistiller(nn.Module):
    """The logit loss of a student against its teacher, x and y added.

    Args:
        config: how the classes are brought together.
        teacher: the teacher's sizes.
        resolution: `R_s` of the student.
        split_factor: `k_s` of the student.

    Raises:
        ConfigError: the numbers of bins do not fit.
    """

    def __init__(
        self, config: LogitConfig, teacher: TeacherShape, resolution: int, split_factor: int
    ) -> None:
        super().__init__()
        self.config = config
        self.ratio = 1
        bins = split_factor * resolution
        if config.kind == "cca":
            self.ratio = class_ratio(teacher, resolution, split_factor)
        elif config.kind == "same_class_number" and bins != teacher.bins:
            raise ConfigError(
                f"distillation.logit: same_class_number needs a student with the teacher's "
                f"{teacher.bins} bins, this one has {bins}: set model.head.split_factor to "
                f"{teacher.bins / resolution:g}"
            )
        self.align: nn.ModuleList | None = None
        if config.kind == "fully_connected":
            self.align = nn.ModuleList(nn.Linear(bins, teacher.bins) for _ in "xy")

    def forward(self, student: Logits, teacher: Logits, weights: Tensor, tau: Tensor) -> Tensor:
        """Sum over the joints that count; the caller divides by their number.

        Args:
            student: logits `[B,J,L_s]`.
            teacher: log-probabilities `[B,J,L_t]` at temperature 1.
            weights: `[B,J]` 1 for the joints that count.
            tau: scalar.
        """
        total = student.x.new_zeros((), dtype=torch.float32)
        for axis in (0, 1):
            logits, expected = student[axis], teacher[axis].detach().float()
            if self.align is not None:
                logits = self.align[axis](logits)
            elif self.config.order == "merge_then_temper":
                expected = merge(expected, self.ratio, self.config.align)
            else:
                return_to_one = (expected / tau).log_softmax(-1)
                # Undo the division by tau that follows: this order merges tempered probabilities.
                expected = tau * merge(return_to_one, self.ratio, self.config.align)
            total = total + (tempered_divergence(expected, logits, tau) * weights).sum()
        return total
