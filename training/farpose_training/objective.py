"""What a training run minimises: the student's own loss, and what a teacher adds to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from farpose_training.data.batch import Batch
from farpose_training.losses import task_loss
from farpose_training.models.network import PoseNet


@dataclass(frozen=True)
class Losses:
    """The losses of one batch."""

    total: Tensor
    """What is differentiated."""

    terms: dict[str, Tensor]
    """Its parts before they are weighted: `task`, and `feature` and `logit` where distilled."""


def _alone(count: Tensor) -> Tensor:
    return count


class Objective(nn.Module):
    """The student and everything that is trained beside it, but is not exported.

    Args:
        student: the network to train.
    """

    def __init__(self, student: PoseNet) -> None:
        super().__init__()
        self.student = student

    def forward(self, batch: Batch, shared: Callable[[Tensor], Tensor] = _alone) -> Losses:
        """The losses of a batch.

        Args:
            batch: with what the teacher says of it, where there is a teacher.
            shared: turns this process's number of visible joints into the mean over processes, so
                that several processes have the loss of one with all their samples.
        """
        prediction = self.student(batch.crops)
        total, visible = task_loss(
            prediction, batch.keypoints, batch.weights, self.student.config.head
        )
        task = total / shared(visible).clamp(min=1)
        return Losses(task, {"task": task})

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Called before epoch `epoch` (from 0) of `epochs`."""

    def state(self) -> dict[str, float]:
        """What the log of an epoch says besides losses: `tau`, `xi`, `alpha`, `beta`."""
        return {}
