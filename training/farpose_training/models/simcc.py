"""The SimCC head and its decoder."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from farpose.simcc import WINDOW_PIXELS
from farpose_training.config import SimCCConfig


class Logits(NamedTuple):
    """Scores over the bins of each axis, before softmax."""

    x: Tensor
    """`[B,J,L]`, `L = k * R`."""

    y: Tensor
    """`[B,J,L]`."""


class SimCCHead(nn.Module):
    """A feature map becomes two distributions per joint.

    A 1x1 convolution gives one map per joint; two linear layers, shared by the joints, turn the
    flattened map into `k * R` classes per axis (Li et al., ECCV 2022). With stride 8 the maps are
    averaged 2x2 before.

    Args:
        config: split factor and stride.
        channels: of the feature, whose stride is 4.
        joints: `J`.
        resolution: `R`, crop pixels.
        input_size: side of the image that the backbone sees, pixels.
    """

    def __init__(
        self, config: SimCCConfig, channels: int, joints: int, resolution: int, input_size: int
    ) -> None:
        super().__init__()
        self.pool = config.stride // 4
        cells, bins = input_size // config.stride, resolution * config.split_factor
        self.joints = nn.Conv2d(channels, joints, 1)
        self.x = nn.Linear(cells * cells, bins)
        self.y = nn.Linear(cells * cells, bins)
        for axis, linear in enumerate((self.x, self.y)):
            with torch.no_grad():
                linear.weight.add_(marginal_weights(cells, resolution, config.split_factor, axis))

    def forward(self, feature: Tensor) -> Logits:
        """Feature `[B,C,H,W]` to logits `[B,J,L]` per axis."""
        maps = self.joints(feature)
        if self.pool > 1:
            maps = nn.functional.avg_pool2d(maps, self.pool)
        maps = maps.flatten(2)
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


def label_peak(config: SimCCConfig) -> float:
    """The largest probability in a label: the peak that a score of 1 stands for."""
    if config.labels == "smooth":
        return 1 - config.smoothing
    return 1 / (config.sigma * math.sqrt(2 * math.pi))


class SimCCDecoder(nn.Module):
    """Logits to keypoints, scores and variances: `farpose.simcc.decode` as graph operations.

    Args:
        config: labels, decoding and score of the network that made the logits.
        resolution: `R`.
    """

    bins: Tensor

    def __init__(self, config: SimCCConfig, resolution: int) -> None:
        super().__init__()
        self.split_factor = config.split_factor
        self.expectation = config.decoding == "expectation"
        self.score = config.score
        self.label_peak = label_peak(config)
        bins = torch.arange(resolution * config.split_factor, dtype=torch.float32)
        self.register_buffer("bins", bins, persistent=False)

    def forward(self, logits: Logits) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints `[B,J,2]` crop pixels, scores `[B,J]`, variances `[B,J,2]` pixels squared."""
        x, peak_x, variance_x = self._axis(logits.x)
        y, peak_y, variance_y = self._axis(logits.y)
        scores = self._scores(peak_x, peak_y)
        return torch.stack([x, y], -1), scores, torch.stack([variance_x, variance_y], -1)

    def _scores(self, peak_x: Tensor, peak_y: Tensor) -> Tensor:
        if self.score == "raw_max":
            return torch.maximum(peak_x, peak_y)
        smaller = torch.minimum(peak_x, peak_y)
        if self.score == "raw_min":
            return smaller
        return (smaller / self.label_peak).clamp(max=1.0)

    def _axis(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = logits.softmax(dim=-1)
        peak = p.amax(dim=-1)
        argmax = p.argmax(dim=-1, keepdim=True).to(p.dtype)
        reach = WINDOW_PIXELS * self.split_factor
        window = ((self.bins - argmax).abs() <= reach).to(p.dtype)
        mass = (p * window).sum(-1)
        mean = (p * window * self.bins).sum(-1) / mass if self.expectation else argmax[..., 0]
        outside_bins = (len(self.bins) - window.sum(-1)).clamp(min=1.0)
        floor = (1 - mass) / outside_bins
        above = ((p - floor[..., None]).clamp(min=0.0) + 1e-9) * window
        squares = (self.bins - mean[..., None]) ** 2
        variance = (above * squares).sum(-1) / above.sum(-1)
        return mean / self.split_factor, peak, variance / self.split_factor**2
