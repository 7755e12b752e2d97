"""Parameters and multiply-adds of a network, by two rules.

The paper's "GFLOPs" (arXiv 2405.11448) are reproduced by counting convolutions and deconvolutions
as weights times output cells, a linear layer as its outputs times the second axis of its input (the
joints that share it, so they count twice), all else as nothing, and dividing by 1024^3. The true
count takes a deconvolution as weights times input cells, and a linear layer as weights times the
vectors it is applied to, in units of 10^9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from farpose_training.config import ModelConfig
from farpose_training.models.network import PoseNet


@dataclass(frozen=True)
class Complexity:
    """What a network costs."""

    parameters: int
    paper_multiply_adds: int
    """By the paper's rule."""

    multiply_adds: int
    """What is really multiplied."""

    @property
    def millions(self) -> float:
        """Parameters in millions."""
        return self.parameters / 1e6

    @property
    def paper_gflops(self) -> float:
        """The number that the paper prints as GFLOPs."""
        return self.paper_multiply_adds / 1024**3

    @property
    def gmacs(self) -> float:
        """True multiply-adds, 10^9."""
        return self.multiply_adds / 1e9


def complexity(config: ModelConfig, joints: int, part: str = "") -> Complexity:
    """Cost of one crop through a network.

    The network is built without memory for its weights.

    Args:
        config: the architecture; its backbone is no file.
        joints: `J`.
        part: count only this module, such as `backbone`; all of it if empty.
    """
    backbone = config.backbone.model_copy(update={"pretrained": False})
    with torch.device("meta"):
        network = PoseNet(config.model_copy(update={"backbone": backbone}), joints).eval()
        counted = network.get_submodule(part)
        totals = {"paper": 0, "true": 0}

        def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            paper, true = _multiply_adds(module, inputs[0], output)
            totals["paper"] += paper
            totals["true"] += true

        for module in counted.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.register_forward_hook(count)
        size = config.resolution
        with torch.no_grad():
            network(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    return Complexity(sum(p.numel() for p in counted.parameters()), totals["paper"], totals["true"])


def _multiply_adds(module: nn.Module, given: Tensor, output: Tensor) -> tuple[int, int]:
    """By the paper's rule, and truly."""
    weights = module.weight.numel() if isinstance(module.weight, Tensor) else 0
    if isinstance(module, nn.Linear):
        return output.numel() * given.shape[1], weights * given.shape[:-1].numel()
    cells = output.shape[2:].numel()
    if isinstance(module, nn.ConvTranspose2d):
        return weights * cells, weights * given.shape[2:].numel()
    return weights * cells, weights * cells
