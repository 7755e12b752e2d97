"""Other ways to distil a feature, which the paper compares with its own (Table V).

Both bring the teacher's feature down to the student's size, and lose what does not fit.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from farpose_training.config import ConfigError
from farpose_training.distillation.features import cosine_distance, match_channels


class ConvDownsample(nn.Module):
    """Strided 3x3 convolutions with batch norm and ReLU on the teacher's feature (after FitNets).

    Args:
        channels: of the student's feature.
        cells: `H = W` of the student's feature.
        teacher_channels: of the teacher's.
        teacher_cells: `H' = W'`, a power of two times `H`.
    """

    def __init__(
        self, channels: int, cells: int, teacher_channels: int, teacher_cells: int
    ) -> None:
        super().__init__()
        ratio = teacher_cells // cells
        if teacher_cells % cells or ratio & (ratio - 1):
            raise ConfigError(
                f"distillation.feature: conv_downsample halves the teacher's {teacher_cells} cells "
                f"and cannot reach the student's {cells}; use resolutions a power of two apart"
            )
        steps = ratio.bit_length() - 1
        widths = [teacher_channels] * steps + [channels]
        self.reduce = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for before, after in pairwise(widths)
            )
        )
        if not steps:
            self.reduce = nn.Sequential(match_channels(teacher_channels, channels))

    def forward(self, feature: Tensor, teacher: Tensor) -> Tensor:
        """Loss of the student's feature against the reduced teacher's."""
        return cosine_distance(feature, self.reduce(_as_student(teacher, feature)))


class FullyConnectedFeature(nn.Module):
    """One spatial linear layer on the teacher's feature, shared by the channels (after ScaleKD).

    Args:
        channels: of the student's feature.
        cells: `H = W` of the student's feature.
        teacher_channels: of the teacher's.
        teacher_cells: `H' = W'`.
    """

    def __init__(
        self, channels: int, cells: int, teacher_channels: int, teacher_cells: int
    ) -> None:
        super().__init__()
        self.cells = cells
        self.align = match_channels(teacher_channels, channels)
        self.linear = nn.Linear(teacher_cells * teacher_cells, cells * cells)

    def forward(self, feature: Tensor, teacher: Tensor) -> Tensor:
        """Loss of the student's feature against the reduced teacher's."""
        reduced = self.linear(self.align(_as_student(teacher, feature)).flatten(2))
        return cosine_distance(feature, reduced.unflatten(2, (self.cells, self.cells)))


def _as_student(teacher: Tensor, feature: Tensor) -> Tensor:
    """The teacher's feature without its graph, in the student's precision.

    A view bank keeps it in half precision, in which the layers do not work.
    """
    return teacher.detach().to(feature.dtype)
