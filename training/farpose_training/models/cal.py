"""The head of confidence-aware learning (CAL): a map and a field of offsets per joint.

A cell of a map is 4 pixels of the image that the backbone sees, much for a small crop. So every
cell also says how far the joint is from it; the answer is the highest cell and what that one says
(Wang et al., "Low-resolution human pose estimation", Pattern Recognition 2022).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from farpose_training.models.heatmap import answer, peaks


class MapsAndOffsets(NamedTuple):
    """What the head says."""

    maps: Tensor
    """`[B,J,H,W]`, 1 where a joint is, 0 elsewhere."""

    offsets: Tensor
    """`[B,J,2,H,W]` cells from each cell's centre to the joint, x and y."""

    cell: float
    """Crop pixels per cell, for the loss."""


class CalHead(nn.Module):
    """Two 1x1 convolutions of the feature: one makes the maps, one the offsets."""

    def __init__(self, channels: int, joints: int, cell: float) -> None:
        super().__init__()
        self.cell = cell
        self.maps = nn.Conv2d(channels, joints, 1)
        self.offsets = nn.Conv2d(channels, 2 * joints, 1)
        for convolution in (self.maps, self.offsets):
            nn.init.normal_(convolution.weight, std=0.001)

    def forward(self, feature: Tensor) -> MapsAndOffsets:
        """Feature `[B,C,H,W]` to maps and offsets."""
        offsets = self.offsets(feature).unflatten(1, (-1, 2))
        return MapsAndOffsets(self.maps(feature), offsets, self.cell)


class CalDecoder(nn.Module):
    """The highest cell of each map, moved by its offset.

    Args:
        cell: crop pixels per cell.
    """

    def __init__(self, cell: float) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, prediction: MapsAndOffsets) -> tuple[Tensor, Tensor, Tensor]:
        """Maps and offsets to keypoints `[B,J,2]`, scores `[B,J]`, variances `[B,J,2]`.

        See `HeatmapDecoder`.
        """
        maps = prediction.maps.float()
        peak, x, y = peaks(maps)
        offset = _at(prediction.offsets.float(), x, y)
        return answer(maps, peak, x, y, offset, self.cell)


def _at(offsets: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`[B,J,2]` what offsets `[B,J,2,H,W]` say in columns `x` and rows `y` `[B,J]`."""
    place = y * offsets.shape[-1] + x
    return offsets.flatten(3).gather(3, place[..., None, None].expand(-1, -1, 2, -1)).squeeze(3)
