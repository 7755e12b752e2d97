"""The heatmap head of SimpleBaseline and HRNet, and its decoders.

A map has one cell per 4 pixels of the image that the backbone sees. Cell `c` covers pixels `4c` to
`4c + 3`, so its centre is at index `4c + 1.5`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from farpose_training.config import HeatmapConfig

WINDOW_CELLS = 2
"""The variance looks this many cells to each side of the peak."""

BLUR_SIGMAS = 2
"""DARK's smoothing kernel is cut off this many standard deviations from its middle."""

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
    the logarithm of the map, smoothed by a gaussian as wide as the labels (Zhang et al., CVPR
    2020): for a gaussian it ends at the mean. A peak in an edge cell has one neighbour only, and
    keeps the centre of its cell along that axis.

    Args:
        config: the decoding.
        cell: crop pixels per cell.
    """

    blur: Tensor

    def __init__(self, config: HeatmapConfig, cell: float) -> None:
        super().__init__()
        self.config = config
        self.cell = cell
        self.reach = math.ceil(BLUR_SIGMAS * config.sigma)
        offsets = torch.arange(-self.reach, self.reach + 1, dtype=torch.float32)
        along = torch.exp(-(offsets**2) / (2 * config.sigma**2))
        kernel = along[:, None] * along
        self.register_buffer("blur", (kernel / kernel.sum())[None, None], persistent=False)

    def forward(self, prediction: Heatmaps) -> tuple[Tensor, Tensor, Tensor]:
        """Maps `[B,J,H,W]` to keypoints `[B,J,2]`, scores `[B,J]`, variances `[B,J,2]`.

        Positions are crop pixels; the score is the peak, cut off at 0 and 1. Variances, crop pixels
        squared, are second moments around the position, of the cells within 2 of the peak.
        """
        maps = prediction.maps.float()
        height, width = maps.shape[2:]
        peak, x, y = peaks(maps)
        between = torch.stack([(x > 0) & (x < width - 1), (y > 0) & (y < height - 1)], -1)
        step = self._shift if self.config.decoding == "shift" else self._dark
        offset = step(maps, x, y, between.to(maps.dtype))
        return answer(maps, peak, x, y, offset, self.cell)

    def _shift(self, maps: Tensor, x: Tensor, y: Tensor, between: Tensor) -> Tensor:
        """`[B,J,2]` cells; `between` `[B,J,2]` is 1 where a peak has both neighbours, else 0."""
        around = _patch(maps, x, y, 1)
        dx = around[..., 1, 2] - around[..., 1, 0]
        dy = around[..., 2, 1] - around[..., 0, 1]
        return 0.25 * torch.stack([dx, dy], -1).sign() * between

    def _dark(self, maps: Tensor, x: Tensor, y: Tensor, between: Tensor) -> Tensor:
        """See `_shift`."""
        joints = maps.shape[1]
        kernel = self.blur.expand(joints, -1, -1, -1)
        smooth = nn.functional.conv2d(maps, kernel, padding=self.reach, groups=joints)
        p = _patch(smooth.clamp(min=FLOOR).log(), x, y, 1)
        dx = (p[..., 1, 2] - p[..., 1, 0]) / 2
        dy = (p[..., 2, 1] - p[..., 0, 1]) / 2
        dxx = p[..., 1, 2] - 2 * p[..., 1, 1] + p[..., 1, 0]
        dyy = p[..., 2, 1] - 2 * p[..., 1, 1] + p[..., 0, 1]
        dxy = (p[..., 2, 2] - p[..., 2, 0] - p[..., 0, 2] + p[..., 0, 0]) / 4
        # Along an axis without both neighbours: no slope, no coupling, any curvature below 0.
        x_known, y_known = between.unbind(-1)
        dx, dy, dxy = dx * x_known, dy * y_known, dxy * x_known * y_known
        dxx, dyy = dxx * x_known - (1 - x_known), dyy * y_known - (1 - y_known)
        determinant = dxx * dyy - dxy**2
        step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1)
        curved = ((determinant > FLOOR) & (dxx < 0))[..., None]
        step = step / torch.where(curved, determinant[..., None], torch.ones_like(step))
        # A flat or ragged map has no maximum near by.
        return torch.where(curved, step, torch.zeros_like(step)).clamp(-1, 1)


def to_cells(keypoints: Tensor, cell: float) -> Tensor:
    """Positions in cells of crop pixels `keypoints`; `cell` is crop pixels per cell."""
    return (keypoints + 0.5) / cell - 0.5


def peaks(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The highest values `[B,J]` of maps `[B,J,H,W]`, and the column and row of each."""
    width = maps.shape[3]
    peak, place = maps.flatten(2).max(-1)
    return peak, place % width, torch.div(place, width, rounding_mode="floor")


def answer(
    maps: Tensor, peak: Tensor, x: Tensor, y: Tensor, offset: Tensor, cell: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What decoders of maps `[B,J,H,W]` give: see `HeatmapDecoder.forward`.

    Args:
        maps: what is below 0 counts as 0 in the variances.
        peak: `[B,J]` with `x` and `y`, see `peaks`.
        x: columns.
        y: rows.
        offset: `[B,J,2]` cells from there to the keypoint.
        cell: crop pixels per cell.
    """
    cells = torch.stack([x, y], -1).to(maps.dtype) + offset
    variances = _variances(maps, x, y, offset) * cell**2
    return (cells + 0.5) * cell - 0.5, peak.clamp(0, 1), variances


def _variances(maps: Tensor, x: Tensor, y: Tensor, offset: Tensor) -> Tensor:
    """`[B,J,2]` second moments, cells squared, of the cells within 2 of each peak."""
    padded = nn.functional.pad(maps.clamp(min=0) + FLOOR, [WINDOW_CELLS] * 4)
    p = _patch(padded, x + WINDOW_CELLS, y + WINDOW_CELLS, WINDOW_CELLS)
    offsets = torch.arange(-WINDOW_CELLS, WINDOW_CELLS + 1, device=maps.device).to(maps.dtype)
    total = p.sum((-1, -2))
    moments = []
    for axis, middle in zip((-2, -1), offset.unbind(-1), strict=True):  # over rows: x first
        squares = (offsets - middle[..., None]) ** 2
        moments.append((p.sum(axis) * squares).sum(-1) / total)
    return torch.stack(moments, -1)


def _patch(maps: Tensor, x: Tensor, y: Tensor, reach: int) -> Tensor:
    """`[B,J,2r+1,2r+1]` the cells around `x`, `y` `[B,J]`; those beyond the edge repeat it."""
    height, width = maps.shape[2:]
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    columns = (x[..., None] + offsets).clamp(0, width - 1)
    rows = (y[..., None] + offsets).clamp(0, height - 1)
    places = (rows[..., :, None] * width + columns[..., None, :]).flatten(2)
    side = 2 * reach + 1
    return maps.flatten(2).gather(2, places).unflatten(2, (side, side))
