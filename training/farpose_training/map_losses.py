"""What heads with maps are trained with. Positions are in cells of the map.

Shapes: B batch, J joints, H W cells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from farpose_training.config import CalConfig, HeatmapConfig
from farpose_training.models.cal import MapsAndOffsets
from farpose_training.models.heatmap import Heatmaps, peaks, to_cells

NEAR = 0.3
"""A cell is near a joint where the label is at least this high."""

REACH = 3.0
"""An offset is learned at most this many cells from its joint, and a peak that is farther away says
nothing of where offsets will be read: it is on something else."""

ROUNDING = 1 / 12
"""Variance of what is lost by rounding to a cell: no mask is narrower, so none is empty."""


def heatmap_loss(
    prediction: Heatmaps, keypoints: Tensor, weights: Tensor, config: HeatmapConfig
) -> tuple[Tensor, Tensor]:
    """Squared difference to gaussian maps, averaged over cells, summed over visible joints.

    A joint whose cell lies outside of the map counts as unlabelled. See `simcc_loss` for arguments
    and result.
    """
    maps = prediction.maps.float()
    joints = to_cells(keypoints, prediction.cell)
    visible = weights * _inside(joints, maps)
    labels = _labels(*_away(joints, maps), config.sigma)
    difference = ((maps - labels) ** 2).mean((2, 3))
    return (difference * visible).sum(), visible.sum()


def cal_loss(
    prediction: MapsAndOffsets, keypoints: Tensor, weights: Tensor, config: CalConfig
) -> tuple[Tensor, Tensor]:
    """The maps' squared differences and the offsets' absolute ones, both weighted by confidence.

    Maps: near a joint and at the map's own peak, large errors count more. Offsets: see
    `confidence_mask`. Both are averaged over cells and summed over visible joints. See `simcc_loss`
    for arguments and result.
    """
    maps = prediction.maps.float()
    joints = to_cells(keypoints, prediction.cell)
    visible = weights * _inside(joints, maps)
    columns, rows = _away(joints, maps)
    away = torch.stack(torch.broadcast_tensors(columns, rows), 2)
    labels = _labels(columns, rows, config.sigma)
    difference = maps - labels
    with torch.no_grad():
        peak, x, y = peaks(maps)
        closely = (labels >= NEAR) | (maps == peak[..., None, None])
        counts = torch.where(closely, (config.focus * difference.abs()).exp(), 1.0)
        mask = labels
        if config.mask == "confidence":
            mask = confidence_mask(torch.stack([x, y], -1) - joints, visible, away)
    missed = (prediction.offsets.float() + away).abs().sum(2)
    per_joint = (counts * difference**2 + config.offset_weight * mask * missed).mean((2, 3))
    return (per_joint * visible).sum(), visible.sum()


def confidence_mask(errors: Tensor, visible: Tensor, away: Tensor) -> Tensor:
    """Where offsets are learned, `[B,J,H,W]`: as often as they are read there.

    When a network is used, an offset is read at the peak of its map, which is not always the cell
    that the joint is in. So one gaussian is fitted to where the peaks of this batch lie, seen from
    their joints; its density over the cells around each joint, 1 at its highest, is the mask. As
    the maps get better, the mask gets narrower.

    Args:
        errors: `[B,J,2]` from each joint to the peak of its map.
        visible: `[B,J]` above 0 for the joints that count.
        away: `[B,J,2,H,W]` from each joint to each cell.
    """
    counted = ((visible > 0) & (errors.abs() <= REACH).all(-1)).to(errors.dtype)[..., None]
    count = counted.sum().clamp(min=1)
    mean = (errors * counted).sum((0, 1)) / count
    centred = (errors - mean) * counted
    around = (centred[..., None] * centred[..., None, :]).sum((0, 1)) / count
    around = around + ROUNDING * torch.eye(2, dtype=errors.dtype, device=errors.device)
    (xx, xy), (_, yy) = around
    dx, dy = (away - mean[:, None, None]).unbind(2)
    distance = (yy * dx**2 - 2 * xy * dx * dy + xx * dy**2) / (xx * yy - xy**2)
    return torch.exp(-distance / 2) * (away.abs() <= REACH).all(2)


def _labels(columns: Tensor, rows: Tensor, sigma: float) -> Tensor:
    """`[B,J,H,W]`, 1 at the joint; see `_away`."""
    return torch.exp(-(rows**2 + columns**2) / (2 * sigma**2))


def _inside(joints: Tensor, maps: Tensor) -> Tensor:
    """`[B,J]` whether the cells of joints `[B,J,2]` exist."""
    height, width = maps.shape[2:]
    bounds = joints.new_tensor([width, height])
    return ((joints.round() >= 0) & (joints.round() < bounds)).all(-1)


def _away(joints: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """From joints `[B,J,2]` to the columns `[B,J,1,W]` and the rows `[B,J,H,1]` of their map."""
    height, width = maps.shape[2:]
    columns = torch.arange(width, device=maps.device) - joints[..., 0, None]
    rows = torch.arange(height, device=maps.device) - joints[..., 1, None]
    return columns[..., None, :], rows[..., None]
