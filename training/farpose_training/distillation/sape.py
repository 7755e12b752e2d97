"""Scale-adaptive projector ensemble: a small feature meets a large one.

`K` differently initialised projectors enlarge the student's feature to the size of the teacher's;
the scale-adaptive unit looks at the student's feature with kernels of several sizes and decides,
per channel, how much each projection counts.

Shapes: B batch, C channels of the teacher, H W cells of the student's feature, H' W' of the
teacher's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from farpose_training.config import SapeConfig
from farpose_training.distillation.features import match_channels
from farpose_training.distillation.projection import projected_cosine_distance

MIN_HIDDEN = 32
"""Least width of the scale-adaptive unit's bottleneck."""


class Projector(nn.Module):
    """A spatial fully connected layer, shared by the channels, and ReLU.

    One over channels too would have hundreds of millions of weights.
    """

    def __init__(self, cells: int, wanted: int) -> None:
        super().__init__()
        self.linear = nn.Linear(cells * cells, wanted * wanted)

    def forward(self, feature: Tensor) -> Tensor:
        """Feature `[B,C,HW]` to a map `[B,C,H'W']`."""
        return self.linear(feature).relu()


class ScaleAdaptiveUnit(nn.Module):
    """Weights of several outputs, per channel, from the student's feature.

    Convolutions of several kernel sizes are summed and averaged over space; a bottleneck and one
    linear layer per output follow, with a softmax across outputs (after Li et al., Selective
    Kernel Networks, CVPR 2019).
    """

    def __init__(self, channels: int, kernels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for kernel in kernels
        )
        hidden = max(channels // 2, MIN_HIDDEN)
        self.fuse = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
        )
        self.select = nn.ModuleList(nn.Linear(hidden, channels) for _ in range(outputs))

    def forward(self, feature: Tensor) -> Tensor:
        """Feature `[B,C,H,W]` to weights `[outputs,B,C]` that sum to 1 over outputs."""
        first, *others = (branch(feature) for branch in self.branches)
        # Pooling one sum costs a CPU half of what a mean of each branch does.
        seen = nn.functional.avg_pool2d(sum(others, first), feature.shape[2:]).flatten(1)
        fused = self.fuse(seen)
        return torch.stack([select(fused) for select in self.select]).softmax(0)


class Sape(nn.Module):
    """The feature loss of a student against its teacher.

    Args:
        config: number of projectors, and how they are fused.
        channels: of the student's feature.
        cells: `H = W`.
        teacher_channels: `C`.
        teacher_cells: `H' = W'`.
    """

    def __init__(
        self,
        config: SapeConfig,
        channels: int,
        cells: int,
        teacher_channels: int,
        teacher_cells: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.align = match_channels(channels, teacher_channels)
        self.projectors = nn.ModuleList(
            Projector(cells, teacher_cells) for _ in range(config.projectors)
        )
        outputs = config.projectors + (config.outputs == "projectors_and_mean")
        self.unit = (
            ScaleAdaptiveUnit(teacher_channels, config.kernels, outputs)
            if config.fusion == "sau"
            else None
        )

    def weights(self, aligned: Tensor) -> Tensor:
        """How much each projection of the feature `[B,C,H,W]` counts, `[K,B,C]`."""
        count = len(self.projectors)
        if self.unit is None:
            return aligned.new_full((count, *aligned.shape[:2]), 1 / count)
        weights: Tensor = self.unit(aligned)
        if self.config.outputs == "projectors_and_mean":
            # The mean's weight, shared out: its map need not be made.
            weights = weights[:-1] + weights[-1] / count
        return weights

    def forward(self, feature: Tensor, teacher: Tensor) -> Tensor:
        """Loss of the student's feature `[B,C_s,H,W]` against the teacher's `[B,C,H',W']`.

        Gradients reach the student, never the teacher.
        """
        aligned = self.align(feature)
        weights = self.weights(aligned)
        flat = aligned.flatten(2)
        # w relu(W x + b) = relu(W w x + w b) as w is not negative: small inputs are weighted.
        return projected_cosine_distance(
            [flat * weight[..., None] for weight in weights],
            list(weights),
            [projector.linear for projector in self.projectors],
            teacher.flatten(2),
        )
