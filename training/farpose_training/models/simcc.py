"""The SimCC pose network and its decoder."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from farpose.simcc import WINDOW_PIXELS
from farpose_training.config import ModelConfig
from farpose_training.models.backbones import build_backbone


class Logits(NamedTuple):
    """Scores over the bins of each axis, before softmax."""

    x: Tensor
    """`[B,J,L]`, `L = k * R`."""

    y: Tensor
    """`[B,J,L]`."""


class SimCCHead(nn.Module):
    """A feature map becomes two distributions per joint.

    A 1x1 convolution gives one map per joint; two linear layers, shared by the joints, turn the
    flattened map into `k * R` classes per axis (Li et al., ECCV 2022).
    """

    def __init__(
        self, channels: int, joints: int, cells: int, resolution: int, split_factor: int
    ) -> None:
        super().__init__()
        self.joints = nn.Conv2d(channels, joints, 1)
        self.x = nn.Linear(cells * cells, resolution * split_factor)
        self.y = nn.Linear(cells * cells, resolution * split_factor)
        for axis, linear in enumerate((self.x, self.y)):
            with torch.no_grad():
                linear.weight.add_(marginal_weights(cells, resolution, split_factor, axis))

    def forward(self, feature: Tensor) -> Logits:
        """Feature `[B,C,cells,cells]` to logits."""
        maps = self.joints(feature).flatten(2)
        return Logits(self.x(maps), self.y(maps))


def marginal_weights(cells: int, resolution: int, split_factor: int, axis: int) -> Tensor:
    """`[k*R, cells^2]` weights that sum a map over the other axis and spread it over the bins.

    A head that starts from them sees where things are before it has learned anything; from
    random weights a small network needs many epochs to find that out.
    """
    pixels = resolution / cells
    centers = (torch.arange(cells) * pixels + (pixels - 1) / 2) * split_factor
    distances = torch.arange(resolution * split_factor)[:, None] - centers
    along = torch.exp(-(distances**2) / (2 * (pixels / 2 * split_factor) ** 2)) / math.sqrt(cells)
    grid = along[:, None, :].expand(-1, cells, -1)
    return (grid if axis == 0 else grid.transpose(1, 2)).reshape(len(along), cells * cells)


class SimCCNet(nn.Module):
    """Crops in, SimCC logits out; normalisation is part of the network.

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
        self.head = SimCCHead(
            self.backbone.channels,
            joints,
            round(config.resolution * config.upscale) // 4,
            config.resolution,
            config.split_factor,
        )
        self.register_buffer("mean", torch.tensor(config.backbone.mean).view(3, 1, 1), False)
        self.register_buffer("std", torch.tensor(config.backbone.std).view(3, 1, 1), False)

    def forward(self, crops: Tensor) -> Logits:
        """Crops `[B,R,R,3]` UINT8 RGB to logits."""
        images = (crops.to(torch.float32).permute(0, 3, 1, 2) - self.mean) / self.std
        if self.config.upscale != 1:
            size = round(self.config.resolution * self.config.upscale)
            images = nn.functional.interpolate(images, (size, size), mode="bilinear")
        return self.head(self.backbone(images))  # type: ignore[no-any-return]


class SimCCDecoder(nn.Module):
    """Logits to keypoints, scores and variances: `farpose.simcc.decode` as graph operations.

    Args:
        config: resolution, split factor and label sigma of the network that made the logits.
    """

    bins: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.split_factor = config.split_factor
        self.label_peak = 1 / (config.label_sigma * math.sqrt(2 * math.pi))
        bins = torch.arange(config.resolution * config.split_factor, dtype=torch.float32)
        self.register_buffer("bins", bins, persistent=False)

    def forward(self, logits: Logits) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints `[B,J,2]` crop pixels, scores `[B,J]`, variances `[B,J,2]` pixels squared."""
        x, peak_x, variance_x = self._axis(logits.x)
        y, peak_y, variance_y = self._axis(logits.y)
        scores = (torch.minimum(peak_x, peak_y) / self.label_peak).clamp(max=1.0)
        return torch.stack([x, y], -1), scores, torch.stack([variance_x, variance_y], -1)

    def _axis(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = logits.softmax(dim=-1)
        peak = p.amax(dim=-1)
        argmax = p.argmax(dim=-1, keepdim=True).to(p.dtype)
        reach = WINDOW_PIXELS * self.split_factor
        window = ((self.bins - argmax).abs() <= reach).to(p.dtype)
        mass = (p * window).sum(-1)
        mean = (p * window * self.bins).sum(-1) / mass
        outside_bins = (len(self.bins) - window.sum(-1)).clamp(min=1.0)
        floor = (1 - mass) / outside_bins
        above = ((p - floor[..., None]).clamp(min=0.0) + 1e-9) * window
        squares = (self.bins - mean[..., None]) ** 2
        variance = (above * squares).sum(-1) / above.sum(-1)
        return mean / self.split_factor, peak, variance / self.split_factor**2
