"""Backbones: from normalised crops `[B,3,R,R]` to one feature map `[B,C,R/4,R/4]`."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from farpose_training.config import OnnxBackbone, TimmBackbone
from farpose_training.config import ResNetBackbone as ResNetConfig
from farpose_training.models.onnx_cut import OnnxCut

DECONVOLUTION_WIDTH = 256
"""Channels of SimpleBaseline's deconvolutions."""


class BackboneError(ValueError):
    """A backbone cannot be built as configured."""


def _timm_model(name: str, *, pretrained: bool, **settings: Any) -> nn.Module:
    """A timm network as feature extractor; `BackboneError` if it or its weights cannot be had."""
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, **settings)
    except OSError as error:  # of the network; huggingface_hub's errors are OSErrors too
        raise BackboneError(
            f"model.backbone.pretrained: the ImageNet weights of {name} could not be "
            f"downloaded ({_first_line(error)}); connect this machine once, after which they "
            "are cached, or set it to false"
        ) from error
    except RuntimeError as error:  # an unknown name, or one that has no weights
        raise BackboneError(f"model.backbone: {name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class HRNetBackbone(nn.Module):
    """The high-resolution branch of an HRNet's last stage, as in Pose-HRNet.

    The fusion layers of the last module that feed only the other branches are deleted: nothing
    reads them, but they would be counted, stored and exported.
    """

    def __init__(self, config: TimmBackbone) -> None:
        super().__init__()
        if not config.name.startswith("hrnet_"):
            raise BackboneError(f"backbone {config.name!r}: only timm's hrnet_* are supported")
        self.net = _timm_model(
            config.name, pretrained=config.pretrained, feature_location="", out_indices=(1,)
        )
        last = self.net.stage4[-1]
        last.fuse_layers = last.fuse_layers[:1]
        self.channels: int = self.net.feature_info.channels()[0]

    def forward(self, images: Tensor) -> Tensor:
        """Normalised crops `[B,3,R,R]` to the feature `[B,C,R/4,R/4]`."""
        return self.net(images)[0]  # type: ignore[no-any-return]


class ResNetBackbone(nn.Module):
    """A ResNet whose coarsest feature is brought back to stride 4 by three deconvolutions.

    Each doubles the resolution with 4x4 kernels and 256 channels, batch norm and ReLU
    (SimpleBaseline, Xiao et al., ECCV 2018).
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.net = _timm_model(
            f"resnet{config.depth}", pretrained=config.pretrained, out_indices=(4,)
        )
        inputs = (self.net.feature_info.channels()[0], DECONVOLUTION_WIDTH, DECONVOLUTION_WIDTH)
        self.upsample = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(
                        channels, DECONVOLUTION_WIDTH, 4, stride=2, padding=1, bias=False
                    ),
                    nn.BatchNorm2d(DECONVOLUTION_WIDTH),
                    nn.ReLU(inplace=True),
                )
                for channels in inputs
            )
        )
        self.channels = DECONVOLUTION_WIDTH

    def forward(self, images: Tensor) -> Tensor:
        """Normalised crops `[B,3,R,R]` to the feature `[B,256,R/4,R/4]`."""
        return self.upsample(self.net(images)[0])  # type: ignore[no-any-return]


class FusedBackbone(nn.Module):
    """A pyramid of an ONNX graph's feature maps, fused top-down into its finest one.

    Each level is projected to `width` channels, the coarser levels are added to the finer ones,
    and two 3x3 convolutions smooth the sum (the feature pyramid of Lin et al., CVPR 2017, with
    the finest level alone kept).
    """

    def __init__(self, body: OnnxCut, width: int) -> None:
        super().__init__()
        self.body = body
        with torch.no_grad():
            maps = body(torch.zeros(1, 3, 64, 64))
        sizes = [m.shape[-1] for m in maps]
        if sizes != [16 >> i for i in range(len(maps))]:
            raise BackboneError(
                f"the cut tensors have strides {[64 / s for s in sizes]}; "
                "list them finest first, each half as fine as the one before, starting at 4"
            )
        self.laterals = nn.ModuleList(nn.Conv2d(m.shape[1], width, 1) for m in maps)
        self.smooth = nn.Sequential(
            *(layer for _ in range(2) for layer in _convolution(width, width))
        )
        self.channels = width

    def forward(self, images: Tensor) -> Tensor:
        """Normalised crops `[B,3,R,R]` to the feature `[B,C,R/4,R/4]`."""
        maps = [lateral(m) for lateral, m in zip(self.laterals, self.body(images), strict=True)]
        fused = maps[-1]
        for finer in maps[-2::-1]:
            fused = finer + nn.functional.interpolate(fused, scale_factor=2.0, mode="nearest")
        return self.smooth(fused)  # type: ignore[no-any-return]


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(inplace=True),
    )


def build_backbone(
    config: TimmBackbone | ResNetConfig | OnnxBackbone, skeleton: Tensor | None = None
) -> HRNetBackbone | ResNetBackbone | FusedBackbone:
    """Make the backbone that a configuration describes.

    Args:
        config: which one.
        skeleton: for an ONNX backbone, the graph from a checkpoint; the file at `config.path` is
            then not needed.

    Raises:
        BackboneError: it cannot be built; the message says why.
    """
    if isinstance(config, TimmBackbone):
        return HRNetBackbone(config)
    if isinstance(config, ResNetConfig):
        return ResNetBackbone(config)
    if skeleton is not None:
        return FusedBackbone(OnnxCut.from_skeleton(skeleton), config.width)
    if not config.path.is_file():
        raise BackboneError(f"model.backbone.path: {config.path} does not exist")
    body = OnnxCut.from_file(config.path, config.outputs, reverse_channels=config.bgr)
    return FusedBackbone(body, config.width)
