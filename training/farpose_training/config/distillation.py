"""Cross-domain knowledge distillation: what a teacher gives a student, and how strongly.

Section and table numbers are those of the paper (arXiv 2405.11448).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from farpose_training.config.base import Config
from farpose_training.config.model import ModelConfig


class SapeConfig(Config):
    """Scale-adaptive projector ensemble: the student's feature, enlarged to the teacher's."""

    kind: Literal["sape"] = "sape"

    projectors: int = Field(3, ge=1, le=8)
    """`K`, differently initialised projectors (Table VI)."""

    fusion: Literal["sau", "mean"] = "sau"
    """The scale-adaptive unit weights the projections per channel, or they are averaged: with
    `mean`, one projector is Table III's `projector`, three are its `ensemble`."""

    kernels: tuple[int, ...] = (3, 5, 7, 7)
    """Kernel sizes of the scale-adaptive unit's branches (Table VII)."""

    outputs: Literal["projectors_and_mean", "projectors"] = "projectors_and_mean"
    """What the unit selects among: the `K` projections and their mean, or the projections only."""

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> SapeConfig:
        if not self.kernels or any(k < 1 or k % 2 == 0 for k in self.kernels):
            raise ValueError(f"kernels {list(self.kernels)}: odd sizes are expected")
        return self


class ConvDownsampleConfig(Config):
    """Table V's other way: the teacher's feature is brought down by strided convolutions."""

    kind: Literal["conv_downsample"]


class FullyConnectedFeatureConfig(Config):
    """Table V's other way: a linear layer over space brings the teacher's feature down."""

    kind: Literal["fully_connected"]


class LogitConfig(Config):
    """Cross-class alignment: the teacher's bins, merged to the student's (Table V's others too)."""

    kind: Literal["cca", "same_class_number", "fully_connected"] = "cca"
    """`cca` merges groups of bins. `same_class_number` needs a student with as many bins as the
    teacher. `fully_connected` maps the student's logits to the teacher's bins by a linear layer."""

    align: Literal["centered", "paper"] = "centered"
    """Which of the teacher's bins make one of the student's: those around its centre, or the
    paper's `[jm, jm+m-1]`, which lies `(m-1)/2m` of a bin to the left."""

    order: Literal["merge_then_temper", "temper_then_merge"] = "merge_then_temper"
    """Whether bins are merged at temperature 1, or after the softmax at temperature tau. In the
    second way the student with the least loss is far too flat."""


class FixedTemperatureConfig(Config):
    """One temperature for the whole run (Table III's NECM)."""

    kind: Literal["fixed"] = "fixed"

    tau: float = Field(1.0, gt=0)


class EasyToHardConfig(Config):
    """Easy-to-hard training: an adversarial temperature climbs the logit loss."""

    kind: Literal["etht"]

    theta: float = 1.0
    """Its first value; `tau = base + range * sigmoid(theta)`."""

    base: float = Field(1.0, gt=0)
    range: float = Field(20.0, gt=0)

    optimizer: Literal["adam", "sgd"] = "adam"
    """With `adam` the gradient is reversed with weight 1 and the learning rate grows with xi, since
    Adam cancels the scale of a gradient; with `sgd` the reversed gradient itself is weighted."""

    learning_rate: float = Field(1e-2, gt=0)
    """Of theta, at xi = 1."""

    epochs: int | None = Field(None, ge=1)
    """`N`: epochs until xi = 1; the run's own number when not given."""

    learn_alpha: bool = False
    """Learn the feature weight the same way, within 0 and twice its value (Table VIII)."""

    learn_beta: bool = False
    """Learn the logit weight the same way, within 0 and twice its value (Table VIII)."""


class BankConfig(Config):
    """A view bank: augmented views and what the teacher says of them, made once, kept on disk."""

    folder: Path
    """Where it lies; it is made if it does not exist."""

    views: int = Field(4, ge=1)
    """Augmented views per person; an epoch draws one of them for each."""

    resolutions: tuple[int, ...] = ()
    """Crops to keep, so that students of several resolutions see the same views; the student's own
    if none are given."""

    teacher: Path | None = None
    """Whose outputs are kept; the distillation's if not given, and no other than that. Name it
    where runs without a teacher share the bank of those with one."""

    teacher_model: ModelConfig | None = None
    """The architecture of a public teacher; the distillation's if not given."""

    seed: int = 0
    """Of the views, whatever the seed of the run."""


Feature = Annotated[
    SapeConfig | ConvDownsampleConfig | FullyConnectedFeatureConfig, Field(discriminator="kind")
]
Temperature = Annotated[FixedTemperatureConfig | EasyToHardConfig, Field(discriminator="kind")]


class DistillationConfig(Config):
    """A frozen teacher, and the loss `L_ori + alpha L_fea + beta L_logit`."""

    teacher: Path
    """A `checkpoint.safetensors` of `farpose train`, or a public HRNet's file (`.pth`)."""

    teacher_model: ModelConfig | None = None
    """The architecture of a public teacher; ours say it themselves."""

    feature: Feature | None = SapeConfig()
    """Feature distillation; `null` for none."""

    logit: LogitConfig | None = LogitConfig()
    """Logit distillation; `null` for none. It needs SimCC heads in both networks."""

    temperature: Temperature = FixedTemperatureConfig()
    """Of the logit distillation."""

    alpha: float = Field(5.0, ge=0)
    """Weight of the feature loss."""

    beta: float = Field(1.0, ge=0)
    """Weight of the logit loss."""

    feature_share: float = Field(1.0, gt=0, le=1)
    """Share of each batch whose features are compared. Their mean is an unbiased, noisier estimate
    of that of the whole batch, and costs as much less."""

    def compared(self, samples: int) -> int:
        """How many of a batch of `samples` have their features compared, the first ones.

        At least two where there are, since batch norm sees only them.
        """
        return min(samples, max(2, math.ceil(self.feature_share * samples)))

    @model_validator(mode="after")
    def _everything_has_an_effect(self) -> DistillationConfig:
        if self.feature is None and self.logit is None:
            raise ValueError("feature and logit are both null: nothing is distilled")
        adversary = self.temperature
        if isinstance(adversary, EasyToHardConfig):
            if self.logit is None:
                raise ValueError("temperature: etht tempers the logit distillation, which is null")
            if adversary.learn_alpha and self.feature is None:
                raise ValueError("temperature.learn_alpha: there is no feature distillation")
        if self.feature is None and self.feature_share != 1:
            raise ValueError("feature_share: there is no feature distillation")
        return self
