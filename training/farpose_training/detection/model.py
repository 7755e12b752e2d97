"""RTMDet-nano as a trainable module: one class, person.

The network is the start weights' ONNX graph, cut before its sigmoid and box decoding (RTMDet:
Lyu et al., "RTMDet: An Empirical Study of Designing Real-Time Object Detectors", 2022). Batch
norms were folded into the convolutions when that file was made, so fine-tuning has no running
statistics to disturb.

Shapes: B batch, H W input height and width, A anchor points over all three strides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from farpose_training.checkpoint import (
    SKELETON_KEY,
    CheckpointError,
    load_state,
    read_tensors,
    write_tensors,
)
from farpose_training.models.onnx_cut import OnnxCut

FORMAT = "farpose-detector-1"

STRIDES = (8, 16, 32)
"""Pixels between neighbouring anchor points of the three pyramid levels."""

LOGITS = ("y", "y.8", "y.16")
"""Tensors of `rtmdet_nano.onnx` with the person logit per point `[B,1,h,w]`, by stride."""

DISTANCES = ("y.4", "y.12", "y.20")
"""Tensors with the distances from a point to the left, top, right and bottom box edge, `[B,4,h,w]`
in input pixels (already multiplied by the stride), by stride."""

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.12, 57.375)
"""Per-channel normalisation of the start weights; the network itself wants BGR."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Dense output of the detector, before any suppression.

    Attributes:
        logits: `[B,A]`, person logit per anchor point.
        boxes: `[B,A,4]`, xyxy in input pixels.
        points: `[A,2]`, x and y of each anchor point in input pixels.
        strides: `[A]`, stride of the level each point belongs to.
    """

    logits: Tensor
    boxes: Tensor
    points: Tensor
    strides: Tensor


class PersonDetector(nn.Module):
    """RTMDet-nano person detector.

    Args:
        network: the cut graph, with the six outputs `LOGITS + DISTANCES`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: OnnxCut) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD_RGB).view(3, 1, 1), persistent=False)

    @classmethod
    def from_onnx(cls, path: str | Path) -> PersonDetector:
        """Start from RTMDet's published ONNX file.

        Raises:
            FileNotFoundError: there is no such file.
            OnnxCutError: the file is not `rtmdet_nano.onnx` as the data folder describes it.
        """
        return cls(OnnxCut.from_file(path, LOGITS + DISTANCES))

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> PersonDetector:
        """Load what `save_checkpoint` wrote; it needs no other file.

        Raises:
            CheckpointError: the file is missing, damaged or no person detector.
        """
        tensors, metadata = read_tensors(Path(path))
        if metadata.get("format") != FORMAT:
            raise CheckpointError(
                f"{path}: its format is {metadata.get('format')!r}, this version reads {FORMAT!r}"
            )
        model = cls(OnnxCut.from_skeleton(tensors.pop(SKELETON_KEY)))
        load_state(model, tensors, Path(path))
        return model.eval()

    def save_checkpoint(self, path: str | Path, facts: Mapping[str, str]) -> None:
        """Write weights and graph to a safetensors file, `facts` into its metadata."""
        tensors = {**self.state_dict(), SKELETON_KEY: self.network.skeleton()}
        write_tensors(Path(path), tensors, {"format": FORMAT, **facts})

    def forward(self, images: Tensor) -> Predictions:
        """Predict for UINT8 or float images `[B,H,W,3]`, RGB 0..255, H and W multiples of 32."""
        x = images.permute(0, 3, 1, 2).float()
        x = ((x - self.mean) / self.std).flip(1).contiguous(memory_format=torch.channels_last)
        outputs = self.network(x)
        return decode(outputs[: len(STRIDES)], outputs[len(STRIDES) :])


def decode(logits: tuple[Tensor, ...], distances: tuple[Tensor, ...]) -> Predictions:
    """Join the pyramid levels: `[B,1,h,w]` and `[B,4,h,w]` per stride -> `Predictions`.

    A point at column i and row j of a level lies at (i * stride, j * stride) input pixels.
    """
    points, strides = [], []
    for level, stride in zip(logits, STRIDES, strict=True):
        rows, columns = level.shape[-2:]
        y, x = torch.meshgrid(
            torch.arange(rows, device=level.device),
            torch.arange(columns, device=level.device),
            indexing="ij",
        )
        points.append(torch.stack((x, y), dim=-1).reshape(-1, 2) * float(stride))
        strides.append(torch.full((rows * columns,), float(stride), device=level.device))
    points_a2 = torch.cat(points)
    distances_ba4 = torch.cat([level.flatten(2) for level in distances], dim=2).transpose(1, 2)
    boxes = torch.cat(
        (points_a2 - distances_ba4[..., :2], points_a2 + distances_ba4[..., 2:]), dim=-1
    )
    logits_ba = torch.cat([level.flatten(1) for level in logits], dim=1)
    return Predictions(logits_ba, boxes, points_a2, torch.cat(strides))
