"""One run of `farpose train` for a pose model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from farpose.keypoints import keypoint_set
from farpose_training.config.base import Config, parse
from farpose_training.config.data import AugmentationConfig, Source
from farpose_training.config.distillation import BankConfig, DistillationConfig
from farpose_training.config.model import ModelConfig


class OptimizerConfig(Config):
    """The optimiser and its schedule."""

    kind: Literal["adamw", "adam"] = "adamw"
    """`adamw` decays weights apart from the gradient; `adam` is the papers' optimiser."""

    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(64, ge=2)
    """Of all processes together. At least 2: batch norm cannot train on one sample."""

    epochs: int = Field(30, ge=1)

    schedule: Literal["cosine", "step"] = "cosine"
    """`cosine` to zero, or `step`: a tenth after each of `milestones`."""

    milestones: tuple[int, ...] = ()
    """Epochs after which `step` divides the learning rate by ten."""

    warmup_epochs: float = Field(1.0, ge=0)
    """Epochs of linear warm-up."""

    clip_norm: float = Field(5.0, gt=0)
    """Largest norm of the gradient."""

    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Decay per step of the averaged weights that are evaluated and kept; 0 keeps the last."""

    freeze_batch_norm: bool = False
    """Keep the student's batch norms at the statistics they start with, for fine-tuning. Otherwise
    every process normalises by its own share of the batch, and the first one's running statistics
    are kept."""

    @model_validator(mode="after")
    def _milestones_have_an_effect(self) -> OptimizerConfig:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones need each other")
        return self


class RuntimeConfig(Config):
    """Where and how a run computes; none of it changes what is learned but for rounding.

    Several processes are started by `torchrun --nproc_per_node=N -m farpose.cli train CONFIG`.
    """

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"

    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    """`auto` is bf16-mixed where the device has instructions for it, and 32-true elsewhere."""

    compile: bool = False
    """`torch.compile` the student: slow to start, faster after."""

    tensorboard: bool = False
    """Also log to `output/tensorboard`."""

    picture_memory_gb: float = Field(8.0, ge=0)
    """Decoded pictures that each process keeps; the others are read whenever they are used."""

    checkpoint_minutes: float = Field(10.0, gt=0)
    """Time between the states kept within an epoch; one is kept after each epoch in any case."""


class TrainConfig(Config):
    """One run of `farpose train` for a pose model."""

    task: Literal["pose"]

    output: Path
    """Folder for checkpoints and the log; an unfinished run in it is resumed."""

    keypoint_set: str = "coco17"
    """The joints the model predicts; sources are converted to it."""

    seed: int = 0
    threads: int | None = None
    """CPU threads, all of them when not given."""

    init: Path | None = None
    """A checkpoint to start from, one of ours or a public HRNet's (`.pth`). Weights whose name and
    shape fit are taken, so a model with another resolution or other joints can start from one that
    was trained already."""

    model: ModelConfig
    distillation: DistillationConfig | None = None
    """What a teacher adds to the loss; none is the plain baseline."""

    bank: BankConfig | None = None
    """Train from a view bank instead of new crops in each epoch."""

    train: tuple[Source, ...] = Field(min_length=1)
    val: Source
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    evaluate_every: int = Field(5, ge=1)
    """Epochs between evaluations on `val`; the last epoch is always evaluated."""

    @model_validator(mode="after")
    def _known_keypoint_set(self) -> TrainConfig:
        keypoint_set(self.keypoint_set)
        return self


def parse_train_config(content: dict[str, Any]) -> TrainConfig:
    """Check a configuration; `ConfigError` lists every wrong field."""
    return parse(content, TrainConfig)
