"""One training step: forward, backward, clip, update, average."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from farpose_training.config import TrainConfig
from farpose_training.data.batch import Batch
from farpose_training.loop.averaging import AveragedWeights
from farpose_training.loop.gradients import gradient_ratios
from farpose_training.loop.schedule import learning_rate_factor, seed_everything, step_seed
from farpose_training.models.network import PoseNet
from farpose_training.objective import Objective
from farpose_training.optimization import TrainingError

WEIGHTS = {"feature": "alpha", "logit": "beta"}
"""Terms of the loss, and what the objective's state calls their weights."""


@dataclass(frozen=True)
class StepResult:
    """What one step gave, the same in every process."""

    losses: dict[str, float]
    """`loss`, the total, and its terms; means over processes."""

    checkpoint_due: bool
    """Whether a process asked to keep the state after this step."""

    gradient_ratios: dict[str, float]
    """See `loop.gradients`; empty where they were not asked for."""


class Learner:
    """An objective with its optimisers and the average of the student's weights.

    Args:
        objective: what is trained; it is moved to the run's device.
        config: of the run.
        fabric: device, precision and processes.
        steps_per_epoch: batches of an epoch.
    """

    def __init__(
        self, objective: Objective, config: TrainConfig, fabric: Fabric, steps_per_epoch: int
    ) -> None:
        self._config = config
        self._fabric = fabric
        self._steps_per_epoch = steps_per_epoch
        # Depthwise convolutions train about four times faster on a CPU in this layout.
        objective.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fabric.to_device(objective)
        self.objective = objective
        decay = config.optimizer.ema_decay
        self.average = AveragedWeights(objective.student, decay) if decay else None
        if config.runtime.compile:
            _compile(objective.student)
        self._plain = _Plain(objective, fabric)
        self._forward = fabric.setup_module(self._plain)
        self.optimizers = objective.optimizers(config.optimizer)
        self._fabric_optimizers = [fabric.setup_optimizers(o) for o in self.optimizers]
        self._rates = [group["lr"] for group in self.optimizers[0].param_groups]

    @property
    def network(self) -> PoseNet:
        """The student to evaluate and keep: its averaged weights, if they are averaged."""
        return self.objective.student if self.average is None else self.average.network

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def start_epoch(self, epoch: int) -> None:
        """Get ready for the steps of epoch `epoch` (from 0), or for what is left of them."""
        self.objective.train()
        if self._config.optimizer.freeze_batch_norm:
            for module in self.objective.student.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self.objective.start_epoch(epoch, self._config.optimizer.epochs, self.optimizers)

    def step(
        self,
        batch: Batch,
        epoch: int,
        step: int,
        *,
        checkpoint_due: bool = False,
        ratios: bool = False,
    ) -> StepResult:
        """Learn from a batch, this process's share of step `step` (from 0) of epoch `epoch`.

        Args:
            batch: on the run's device.
            epoch: from 0.
            step: from 0.
            checkpoint_due: whether this process asks all to keep the state.
            ratios: whether to measure the gradients of the loss's terms.

        Raises:
            TrainingError: the loss or its gradient is not finite; nothing was updated.
        """
        seed_everything(step_seed(self._config.seed, epoch, step, self._fabric.global_rank))
        place = epoch * self._steps_per_epoch + step
        factor = learning_rate_factor(self._config.optimizer, place, self._steps_per_epoch)
        for group, rate in zip(self.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

        losses: dict[str, Tensor] = self._forward(**_tensors(batch))
        measured = self._gradient_ratios() if ratios else {}
        for optimizer in self._fabric_optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(losses["loss"])
        norm = self._fabric.clip_gradients(
            self._forward,
            self._fabric_optimizers[0],
            max_norm=self._config.optimizer.clip_norm,
            error_if_nonfinite=False,
        )
        # One exchange and one wait for the device per step: the losses of all processes, and
        # whether one of them asks to keep the state.
        asked = losses["loss"].new_tensor(float(checkpoint_due))
        local = torch.stack([*(loss.detach() for loss in losses.values()), norm, asked])
        *values, norm_value, asked_value = self._mean(local).tolist()
        found = dict(zip(losses, values, strict=True))
        _refuse_infinite(found["loss"], norm_value, epoch, step)
        for optimizer in self._fabric_optimizers:
            optimizer.step()
        if self.average is not None:
            self.average.update()
        return StepResult(found, asked_value > 0, measured)

    def _gradient_ratios(self) -> dict[str, float]:
        state, terms = self.objective.state(), self._plain.terms
        weights = {term: state[name] for term, name in WEIGHTS.items() if term in terms}
        parameters = [p for p in self.objective.student.parameters() if p.requires_grad]
        return gradient_ratios(terms, weights, parameters, self._mean)

    def _mean(self, value: Tensor) -> Tensor:
        return self._fabric.all_reduce(value, reduce_op="mean")  # type: ignore[return-value]


class _Plain(nn.Module):
    """An objective whose inputs and outputs are dicts of tensors, which Fabric can look into.

    Fabric lets nobody but itself go back through what it returns under mixed precision, so the
    terms that can be differentiated are kept here.
    """

    def __init__(self, objective: Objective, fabric: Fabric) -> None:
        super().__init__()
        self.objective = objective
        self._fabric = fabric
        self.terms: dict[str, Tensor] = {}

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The total as `loss`, and the values of its terms."""
        losses = self.objective(Batch(**batch), self._shared)
        self.terms = losses.terms
        return {"loss": losses.total, **{name: t.detach() for name, t in losses.terms.items()}}

    def _shared(self, count: Tensor) -> Tensor:
        return self._fabric.all_reduce(count, reduce_op="mean")  # type: ignore[return-value]


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}


def _refuse_infinite(loss: float, norm: float, epoch: int, step: int) -> None:
    for what, value in (("loss", loss), ("norm of the gradient", norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} is {value} in epoch {epoch + 1}, step {step + 1}: lower "
                "optimizer.learning_rate"
            )


def _compile(student: PoseNet) -> None:
    """Compile the student's parts in place, so that its weights keep their names."""
    import torch._functorch.config as functorch

    # Gradient ratios go through a graph more than once; donated buffers would forbid that.
    functorch.donated_buffer = False
    student.backbone.compile()
    student.head.compile()
