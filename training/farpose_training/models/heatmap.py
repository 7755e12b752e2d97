"""The heatmap head of SimpleBaseline and HRNet, and its decoders.

A map has one cell per 4 pixels of the image that the backbone sees. Cell `c` covers pixels `4c` to
`4c + 3`, so its centre is at index `4c + 1.5`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from farpose_training.config import HeatmapConfig

WINDOW_CELLS = 2
"""The variance looks this many cells to each side of the peak."""

BLUR_SIGMA = 1.0
"""DARK smooths a map with a gaussian of the labels' own width; in cells."""

FLOOR = 1e-10
"""Least value whose logarithm is taken."""


class Heatmaps(NamedTuple):
    """What the head says."""

    maps: Tensor
    """`[B,J,H,W]`, 1 where a joint is, 0 elsewhere."""

    cell: float
    """Crop pixels per cell, for the loss."""


class HeatmapHead(nn.Module):
    """A 1x1 convolution from the feature to one map per joint."""

    def __init__(self, channels: int, joints: int, cell: float) -> None:
        super().__init__()
        self.cell = cell
        self.maps = nn.Conv2d(channels, joints, 1)
        nn.init.normal_(self.maps.weight, std=0.001)

    def forward(self, feature: Tensor) -> Heatmaps:
        """Feature `[B,C,H,W]` to maps `[B,J,H,W]`."""
        return Heatmaps(self.maps(feature), self.cell)


class HeatmapDecoder(nn.Module):
    """Maps to keypoints, scores and variances.

    `shift` moves a quarter of a cell towards the higher neighbour. `dark` takes one Newton step on
    the logarithm of the smoothed map (Zhang et al., CVPR 2020): for a gaussian it ends at the mean.

    Args:
        config: the decoding.
        cell: crop pixels per cell.
    """

    blur: Tensor

    def __init__(self, config: HeatmapConfig, cell: float) -> None:
        super().__init__()
        self.config = config
        self.cell = cell
        offsets = torch.arange(-2, 3, dtype=torch.float32)
        along = torch.exp(-(offsets**2) / (2 * (BLUR_SIGMA * config.sigma) ** 2))
        kernel = along[:, None] * along
        self.register_buffer("blur", (kernel / kernel.sum())[None, None], persistent=False)

    def forward(self, prediction: Heatmaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps `[B,J,H,W]` to keypoints `[B,J,2]`, scores `[B,J]`, variances `[B,J,2]`.

        Positions are crop pixels, variances crop pixels squared; the score is the peak, cut off at
        0 and 1.
        """
        maps = prediction.maps.float()
        width = maps.shape[3]
        peak, place = maps.flatten(2).max(-1)
        x, y = place % width, torch.div(place, width, rounding_mode="floor")
        offset = (
            self._shift(maps, x, y) if self.config.decoding == "shift" else self._dark(maps, x, y)
        )
        cells = torch.stack([x, y], -1).to(maps.dtype) + offset
        keypoints = (cells + 0.5) * self.cell - 0.5
        return keypoints, peak.clamp(0, 1), self._variance(maps, x, y)

    def _shift(self, maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        around = _patch(maps, x, y, 1)
        dx = around[..., 1, 2] - around[..., 1, 0]
        dy = around[..., 2, 1] - around[..., 0, 1]
        return 0.25 * torch.stack([dx, dy], -1).sign()

    def _dark(self, maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        joints = maps.shape[1]
        smooth = nn.functional.conv2d(
            maps, self.blur.expand(joints, 1, 5, 5), padding=2, groups=joints
        )
        p = _patch(smooth.clamp(min=FLOOR).log(), x, y, 1)
        dx = (p[..., 1, 2] - p[..., 1, 0]) / 2
        dy = (p[..., 2, 1] - p[..., 0, 1]) / 2
        dxx = p[..., 1, 2] - 2 * p[..., 1, 1] + p[..., 1, 0]
        dyy = p[..., 2, 1] - 2 * p[..., 1, 1] + p[..., 0, 1]
        dxy = (p[..., 2, 2] - p[..., 2, 0] - p[..., 0, 2] + p[..., 0, 0]) / 4
        determinant = dxx * dyy - dxy**2
        step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1)
        curved = (determinant > FLOOR)[..., None]
        step = step / torch.where(curved, determinant[..., None], torch.ones_like(step))
        # A flat or ragged map has no maximum near by.
        return torch.where(curved, step, torch.zeros_like(step)).clamp(-1, 1)

    def _variance(self, maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        p = _patch(maps.clamp(min=0), x, y, WINDOW_CELLS) + FLOOR
        offsets = torch.arange(-WINDOW_CELLS, WINDOW_CELLS + 1, device=maps.device).to(maps.dtype)
        total = p.sum((-1, -2))
        moments = []
        for axis in (-2, -1):  # sums over rows leave columns: x first
            along = p.sum(axis)
            mean = (along * offsets).sum(-1) / total
            moments.append((along * (offsets - mean[..., None]) ** 2).sum(-1) / total)
        return torch.stack(moments, -1) * self.cell**2


def _patch(maps: Tensor, x: Tensor, y: Tensor, reach: int) -> Tensor:
    """`[B,J,2r+1,2r+1]` the cells around `x`, `y` `[B,J]`; those beyond the edge repeat it."""
    height, width = maps.shape[2:]
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    columns = (x[..., None] + offsets).clamp(0, width - 1)
    rows = (y[..., None] + offsets).clamp(0, height - 1)
    places = (rows[..., :, None] * width + columns[..., None, :]).flatten(2)
    side = 2 * reach + 1
    return maps.flatten(2).gather(2, places).unflatten(2, (side, side))
