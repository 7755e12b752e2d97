"""Architectures: a backbone and a head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from farpose_training.config.base import Config


class _Backbone(Config):
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """RGB mean on the 0..255 scale (ImageNet's)."""

    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """RGB standard deviation on the 0..255 scale (ImageNet's)."""


class TimmBackbone(_Backbone):
    """An HRNet of timm, cut at the high-resolution branch of its last stage."""

    kind: Literal["timm"]

    name: str = "hrnet_w18_small"
    """A timm model name that starts with `hrnet_`."""

    pretrained: bool = False
    """Start from ImageNet weights, which timm downloads."""


class ResNetBackbone(_Backbone):
    """A ResNet with three deconvolutions on top (SimpleBaseline, Xiao et al., ECCV 2018)."""

    kind: Literal["resnet"]

    depth: Literal[50, 101, 152] = 50

    pretrained: bool = False
    """Start the ResNet from ImageNet weights, which timm downloads."""


class OnnxBackbone(_Backbone):
    """Any exported network, cut at feature maps of strides 4, 8, 16, ... and fused top-down."""

    kind: Literal["onnx"]

    path: Path
    """The ONNX file with the weights to start from."""

    outputs: tuple[str, ...]
    """Tensors to cut at, finest first; each has half the resolution of the one before."""

    bgr: bool = False
    """Whether the network was trained on BGR images."""

    width: int = Field(64, gt=0)
    """Channels of the fused feature."""


class SimCCConfig(Config):
    """Two classifications per joint, over columns and over rows (Li et al., ECCV 2022)."""

    kind: Literal["simcc"] = "simcc"

    split_factor: int = Field(3, ge=1)
    """`k`, bins per crop pixel."""

    labels: Literal["gaussian", "smooth"] = "gaussian"
    """`gaussian` around the joint (SA-SimCC), or `smooth`: `1 - smoothing` in the joint's bin and
    the rest shared by the others."""

    sigma: float = Field(4.0, gt=0)
    """Standard deviation of the gaussian labels, in bins."""

    smoothing: float = Field(0.1, gt=0, lt=1)
    """Mass of a `smooth` label outside the joint's bin: 0.1 for COCO, 0.2 for MPII."""

    decoding: Literal["expectation", "argmax"] = "expectation"
    """`expectation` over 3 crop pixels to each side of the peak, or the paper's `argmax`."""

    score: Literal["normalized", "raw_min", "raw_max"] = "normalized"
    """`normalized`: the smaller of the two peak probabilities over the label's own peak, at most 1,
    so that a threshold means the same for every model. `raw_max` and `raw_min`: the larger or the
    smaller peak probability as it is, which SimCC's authors take with smooth and with gaussian
    labels. A gaussian label's own peak is low, 0.1 at `sigma: 4`: raw scores of a model that
    learned such labels stay below the usual thresholds."""

    stride: Literal[4, 8] = 4
    """Input pixels per cell of the joint maps that the linear layers read. SimCC's is 4; 8 averages
    2x2 cells first, which quarters those layers: at 256 they are most of a small model."""


class HeatmapConfig(Config):
    """One map per joint (SimpleBaseline, HRNet)."""

    kind: Literal["heatmap"]

    sigma: float = Field(1.0, gt=0)
    """Standard deviation of the gaussian labels in map cells; a cell is 4 input pixels."""

    decoding: Literal["shift", "dark"] = "shift"
    """A quarter of a cell towards the higher neighbour, or DARK's Taylor step (Zhang et al., CVPR
    2020)."""


class CalConfig(Config):
    """Maps and offsets that learn from each other: confidence-aware learning (CAL).

    After Wang et al., "Low-resolution human pose estimation", Pattern Recognition 2022.
    """

    kind: Literal["cal"]

    sigma: float = Field(1.0, gt=0)
    """Standard deviation of the maps' gaussian labels in cells; a cell is 4 input pixels."""

    mask: Literal["confidence", "labels"] = "confidence"
    """Where offsets are learned: where the peaks of the batch lie around their joints, or, as plain
    offset learning does, where the labels are."""

    focus: float = Field(4.0, ge=0)
    """Near a joint and at the peak, a cell of a map counts `exp(focus |error|)` times; 0 for all
    cells alike."""

    offset_weight: float = Field(0.7, gt=0)
    """Weight of the offsets' loss beside the maps'."""


class RegressionConfig(Config):
    """Coordinates by residual log-likelihood estimation (RLE, Li et al., ICCV 2021)."""

    kind: Literal["rle"]


Backbone = Annotated[TimmBackbone | ResNetBackbone | OnnxBackbone, Field(discriminator="kind")]
Head = Annotated[
    SimCCConfig | HeatmapConfig | CalConfig | RegressionConfig, Field(discriminator="kind")
]


class ModelConfig(Config):
    """A pose network."""

    backbone: Backbone

    resolution: int = Field(64, gt=0, multiple_of=32)
    """`R`, the side of the crop in pixels."""

    upscale: float = Field(1.0, ge=1)
    """The network enlarges its crops this much (bilinear) before the backbone: a backbone that was
    trained on larger people then sees features it knows. `R * upscale` is a multiple of 32."""

    head: Head = SimCCConfig()

    @model_validator(mode="after")
    def _upscaled_size_fits(self) -> ModelConfig:
        if (self.resolution * self.upscale) % 32:
            raise ValueError(
                f"resolution {self.resolution} x upscale {self.upscale} is no multiple of 32"
            )
        return self

    @property
    def input_size(self) -> int:
        """Side of the image that the backbone sees, pixels."""
        return round(self.resolution * self.upscale)
