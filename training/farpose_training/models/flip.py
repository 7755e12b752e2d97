"""The flip test: a crop and its mirror image are asked, and the answers averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from farpose.keypoints import KeypointSet
from farpose_training.config import ConfigError, SimCCConfig
from farpose_training.models.network import PoseNet
from farpose_training.models.simcc import Logits

FLOOR = 1e-12
"""Least probability whose logarithm is taken."""


class FlipTest(nn.Module):
    """A SimCC network that averages the distributions of a crop and of its mirror image.

    A mirrored pixel `x` is at index `R - 1 - x`, so its bin is `k (R - 1 - x)`; read backwards that
    is bin `k x + k - 1` of the crop. So the mirrored distribution is moved by `k - 1` bins. (Moving
    it by 1, as public SimCC code does, is right for `k = 2` only.)

    Args:
        network: in eval mode.
        joints: what it predicts, for the pairs of left and right.
        shift: bins to move; `k - 1` if not given.

    Raises:
        ConfigError: the network has no SimCC head.
    """

    pairs: Tensor

    def __init__(self, network: PoseNet, joints: KeypointSet, shift: int | None = None) -> None:
        super().__init__()
        head = network.config.head
        if not isinstance(head, SimCCConfig):
            raise ConfigError(f"the flip test is for SimCC heads, this network has a {head.kind}")
        self.network = network
        self.shift = head.split_factor - 1 if shift is None else shift
        self.register_buffer("pairs", torch.from_numpy(joints.flip_indices.copy()), False)

    def forward(self, crops: Tensor) -> Logits:
        """Crops `[B,R,R,3]` UINT8 to the logarithms of the averaged probabilities."""
        plain = self.network(crops)
        mirrored = self.network(crops.flip(2))
        x = self._moved(mirrored.x[:, self.pairs].softmax(-1).flip(-1))
        y = mirrored.y[:, self.pairs].softmax(-1)
        return Logits(
            *(
                ((a.softmax(-1) + b) / 2).clamp(min=FLOOR).log()
                for a, b in ((plain.x, x), (plain.y, y))
            )
        )

    def _moved(self, probabilities: Tensor) -> Tensor:
        """Every bin `shift` lower; what moves out is added to the first one."""
        if self.shift == 0:
            return probabilities
        moved = nn.functional.pad(probabilities[..., self.shift :], (0, self.shift))
        lost = probabilities[..., : self.shift].sum(-1)
        return torch.cat([moved[..., :1] + lost[..., None], moved[..., 1:]], -1)
