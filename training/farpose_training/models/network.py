"""A pose network: crops in, the head's prediction out; normalisation is part of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from farpose_training.config import CalConfig, HeatmapConfig, ModelConfig, SimCCConfig
from farpose_training.models.backbones import build_backbone
from farpose_training.models.cal import CalDecoder, CalHead
from farpose_training.models.heatmap import HeatmapDecoder, HeatmapHead
from farpose_training.models.regression import RegressionDecoder, RegressionHead
from farpose_training.models.simcc import SimCCDecoder, SimCCHead


class PoseNet(nn.Module):
    """Backbone and head.

    Args:
        config: the architecture.
        joints: `J`.
        skeleton: see `build_backbone`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, joints: int, skeleton: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, skeleton)
        self.head = build_head(config, self.backbone.channels, joints)
        self.register_buffer("mean", torch.tensor(config.backbone.mean).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor(config.backbone.std).view(3, 1, 1), False)

    def feature(self, crops: Tensor) -> Tensor:
        """Crops `[B,R,R,3]` UINT8 RGB to the backbone's feature `[B,C,R'/4,R'/4]`.

        `R'` is the side of the image that the backbone sees, `R * upscale`.
        """
        images = (crops.to(torch.float32).permute(0, 3, 1, 2) - self.mean) / self.std
        if self.config.upscale != 1:
            size = self.config.input_size
            images = nn.functional.interpolate(images, (size, size), mode="bilinear")
        return self.backbone(images)  # type: ignore[no-any-return]

    def forward(self, crops: Tensor) -> Any:
        """Crops `[B,R,R,3]` UINT8 RGB to the head's prediction, `Logits` for SimCC."""
        return self.head(self.feature(crops))


def build_head(config: ModelConfig, channels: int, joints: int) -> nn.Module:
    """The head of a network whose backbone gives `channels` channels at stride 4."""
    match config.head:
        case SimCCConfig() as head:
            return SimCCHead(head, channels, joints, config.resolution, config.input_size)
        case HeatmapConfig():
            return HeatmapHead(channels, joints, cell=4 / config.upscale)
        case CalConfig():
            return CalHead(channels, joints, cell=4 / config.upscale)
        case _:
            return RegressionHead(channels, joints, config.resolution)


def build_decoder(config: ModelConfig) -> nn.Module:
    """The module that turns a network's prediction into what is served.

    Its outputs are keypoints `[B,J,2]` crop pixels, scores `[B,J]` and variances `[B,J,2]` crop
    pixels squared.
    """
    match config.head:
        case SimCCConfig() as head:
            return SimCCDecoder(head, config.resolution)
        case HeatmapConfig() as head:
            return HeatmapDecoder(head, cell=4 / config.upscale)
        case CalConfig():
            return CalDecoder(cell=4 / config.upscale)
        case _:
            return RegressionDecoder(config.resolution)
