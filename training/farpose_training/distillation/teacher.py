"""The frozen teacher, and what a student needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from farpose.keypoints import KeypointSet
from farpose_training.checkpoint import load_model
from farpose_training.config import ConfigError, ModelConfig, SimCCConfig
from farpose_training.data.batch import Batch
from farpose_training.models.network import PoseNet
from farpose_training.models.simcc import Logits
from farpose_training.public_checkpoints import is_public, load_public


class TeacherOutput(NamedTuple):
    """What the teacher says of some crops."""

    feature: Tensor
    """`[B,C_t,H_t,W_t]`."""

    log_probabilities: Logits | None
    """`[B,J,L_t]` per axis, at temperature 1; none of a teacher without a SimCC head."""


@dataclass(frozen=True)
class TeacherShape:
    """Sizes of a teacher's outputs."""

    channels: int
    """`C_t` of its feature."""

    cells: int
    """`H_t = W_t` of its feature."""

    resolution: int
    """`R_t`, the side of its crops in pixels."""

    split_factor: int | None
    """`k_t`; none of a teacher without a SimCC head."""

    @classmethod
    def of(cls, network: PoseNet) -> TeacherShape:
        """The sizes of a network."""
        config: ModelConfig = network.config
        head = config.head
        return cls(
            channels=network.backbone.channels,
            cells=config.input_size // 4,
            resolution=config.resolution,
            split_factor=head.split_factor if isinstance(head, SimCCConfig) else None,
        )

    @property
    def bins(self) -> int:
        """`L_t = k_t R_t`.

        Raises:
            ConfigError: the teacher has no SimCC head.
        """
        if self.split_factor is None:
            raise ConfigError(
                "distillation.logit: the teacher has no SimCC head; set distillation.logit to null"
            )
        return self.split_factor * self.resolution


class Teacher:
    """A network in eval mode whose weights never change.

    Args:
        network: the teacher; it is frozen.
    """

    def __init__(self, network: PoseNet) -> None:
        # Depthwise convolutions run about four times faster on a CPU in this layout.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: PoseNet = network.eval().requires_grad_(False)
        self.shape = TeacherShape.of(network)

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> TeacherOutput:
        """What it says of crops `[B,R_t,R_t,3]` UINT8 RGB."""
        feature = self.network.feature(crops)
        prediction = self.network.head(feature)
        if not isinstance(prediction, Logits):
            return TeacherOutput(feature, None)
        return TeacherOutput(feature, Logits(*(axis.log_softmax(-1) for axis in prediction)))

    def annotate(self, batch: Batch) -> Batch:
        """The batch with what the teacher says of it, unless that came from a view bank."""
        if batch.teacher_feature is not None:
            return batch
        if batch.teacher_crops is None:
            raise ValueError("the batch holds neither the teacher's crops nor its outputs")
        feature, log_probabilities = self(batch.teacher_crops)
        x, y = log_probabilities if log_probabilities is not None else (None, None)
        return replace(batch, teacher_feature=feature, teacher_x=x, teacher_y=y)


def load_teacher(
    path: Path,
    joints: KeypointSet,
    public: ModelConfig | None,
    device: torch.device,
    named: Literal["distillation", "bank"] = "distillation",
) -> Teacher:
    """The teacher of a run.

    Args:
        path: a checkpoint of `farpose train`, or a public one.
        joints: what the student predicts.
        public: the architecture of a public one.
        device: where it runs.
        named: the section of the configuration that errors name.

    Raises:
        ConfigError: it predicts other joints, or its architecture is not given.
        CheckpointError: it cannot be loaded.
    """
    if is_public(path):
        if public is None:
            raise ConfigError(
                f"{named}.teacher_model: {path} is a public checkpoint; say which model it is"
            )
        return Teacher(load_public(path, public, len(joints)).to(device))
    loaded = load_model(path)
    if loaded.keypoint_set.name != joints.name:
        raise ConfigError(
            f"{named}.teacher: {path} predicts {loaded.keypoint_set.name}, the student "
            f"{joints.name}"
        )
    return Teacher(loaded.model.to(device))
