"""What a training run minimises: the student's own loss, and what a teacher adds to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from farpose_training.config import (
    ConfigError,
    ConvDownsampleConfig,
    DistillationConfig,
    EasyToHardConfig,
    FixedTemperatureConfig,
    OptimizerConfig,
    SapeConfig,
    SimCCConfig,
)
from farpose_training.data.batch import Batch
from farpose_training.distillation.alternatives import ConvDownsample, FullyConnectedFeature
from farpose_training.distillation.cca import LogitDistiller
from farpose_training.distillation.etht import Adversary
from farpose_training.distillation.sape import Sape
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.losses import inside, task_loss
from farpose_training.models.network import PoseNet
from farpose_training.models.simcc import Logits
from farpose_training.optimization import parameter_groups


@dataclass(frozen=True)
class Losses:
    """The losses of one batch."""

    total: Tensor
    """What is differentiated: `task + alpha feature + beta logit`."""

    terms: dict[str, Tensor]
    """Its parts before they are weighted: `task`, and `feature` and `logit` where distilled."""


def _alone(count: Tensor) -> Tensor:
    return count


class Objective(nn.Module):
    """The student and everything that is trained beside it, but is not exported.

    Args:
        student: the network to train.
        config: what a teacher adds; none is the plain baseline.
        teacher: the teacher's sizes, where there is one.

    Raises:
        ConfigError: student and teacher do not fit.
    """

    def __init__(
        self,
        student: PoseNet,
        config: DistillationConfig | None = None,
        teacher: TeacherShape | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.config = config
        self.feature: nn.Module | None = None
        self.logit: LogitDistiller | None = None
        self.adversary: Adversary | None = None
        if config is None:
            return
        if teacher is None:
            raise ValueError("a distillation needs the teacher's sizes")
        self.feature = _feature_distiller(config, student, teacher)
        self.logit = _logit_distiller(config, student, teacher)
        if isinstance(config.temperature, EasyToHardConfig):
            self.adversary = Adversary(config.temperature, config.alpha, config.beta)

    def forward(self, batch: Batch, shared: Callable[[Tensor], Tensor] = _alone) -> Losses:
        """The losses of a batch.

        Args:
            batch: with what the teacher says of it, where there is a teacher.
            shared: turns this process's number of visible joints into the mean over processes, so
                that several processes have the loss of one with all their samples.
        """
        feature = self.student.feature(batch.crops)
        prediction = self.student.head(feature)
        head = self.student.config.head
        total, visible = task_loss(prediction, batch.keypoints, batch.weights, head)
        count = shared(visible).clamp(min=1)
        terms = {"task": total / count}
        if self.feature is not None and self.config is not None:
            few = slice(self.config.compared(len(feature)))
            terms["feature"] = self.feature(feature[few], _given(batch.teacher_feature)[few])
        if self.logit is not None:
            expected = Logits(_given(batch.teacher_x), _given(batch.teacher_y))
            weights = batch.weights * inside(
                batch.keypoints, prediction.x.shape[-1], head.split_factor
            )
            terms["logit"] = self.logit(prediction, expected, weights, self._tau()) / count
        weighted = terms["task"]
        for name, weight in (("feature", "alpha"), ("logit", "beta")):
            if name in terms:
                weighted = weighted + self._weight(weight) * terms[name]
        return Losses(weighted, terms)

    def optimizers(self, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
        """One for the student and its distillers, and the adversary's own where there is one."""
        kind = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
        parts = (self.student, self.feature, self.logit)
        learners = nn.ModuleList(part for part in parts if part is not None)
        groups = parameter_groups(learners, config.weight_decay)
        # Fused: on a CPU several times faster than a loop over parameters.
        optimizers: list[torch.optim.Optimizer] = [
            kind(groups, lr=config.learning_rate, fused=True)
        ]
        if self.adversary is not None:
            optimizers.append(self.adversary.optimizer())
        return optimizers

    def start_epoch(
        self, epoch: int, epochs: int, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        """Called before epoch `epoch` (from 0) of `epochs`, with what `optimizers` returned."""
        if self.adversary is not None:
            self.adversary.start_epoch(epoch, epochs, optimizers[1])

    def state(self) -> dict[str, float]:
        """What the log of an epoch says besides losses: `tau`, `xi`, `alpha`, `beta`."""
        state: dict[str, float] = {}
        with torch.no_grad():
            if self.feature is not None:
                state["alpha"] = float(self._weight("alpha"))
            if self.logit is not None:
                state |= {"beta": float(self._weight("beta")), "tau": float(self._tau())}
        if self.adversary is not None:
            state["xi"] = self.adversary.xi
        return state

    def _tau(self) -> Tensor:
        if self.adversary is not None:
            return self.adversary.tau()
        temperature = self.config.temperature if self.config else None
        if not isinstance(temperature, FixedTemperatureConfig):
            raise TypeError("a temperature that is not fixed needs its adversary")
        return torch.tensor(temperature.tau)

    def _weight(self, name: str) -> Tensor:
        if self.adversary is not None:
            return self.adversary.weight(name)
        return torch.tensor(float(getattr(self.config, name)))


def _feature_distiller(
    config: DistillationConfig, student: PoseNet, teacher: TeacherShape
) -> nn.Module | None:
    sizes = (
        student.backbone.channels,
        student.config.input_size // 4,
        teacher.channels,
        teacher.cells,
    )
    match config.feature:
        case None:
            return None
        case SapeConfig():
            return Sape(config.feature, *sizes)
        case ConvDownsampleConfig():
            return ConvDownsample(*sizes)
        case _:
            return FullyConnectedFeature(*sizes)


def _logit_distiller(
    config: DistillationConfig, student: PoseNet, teacher: TeacherShape
) -> LogitDistiller | None:
    if config.logit is None:
        return None
    head = student.config.head
    if not isinstance(head, SimCCConfig):
        raise ConfigError(
            f"distillation.logit: a {head.kind} head has no classes to align; "
            "set distillation.logit to null"
        )
    return LogitDistiller(config.logit, teacher, student.config.resolution, head.split_factor)


def _given(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("the batch lacks what the teacher says of it")
    return value
