"""Typed configuration of a training run; a YAML file fills it, and wrong keys are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the field."""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TimmBackbone(_Config):
    """An HRNet of timm, cut at the high-resolution branch of its last stage."""

    kind: Literal["timm"]

    name: str = "hrnet_w18_small"
    """A timm model name that starts with `hrnet_`."""

    pretrained: bool = False
    """Start from ImageNet weights, which timm downloads."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """RGB mean on the 0..255 scale (ImageNet's)."""

    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """RGB standard deviation on the 0..255 scale (ImageNet's)."""


class OnnxBackbone(_Config):
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

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """RGB mean on the 0..255 scale."""

    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """RGB standard deviation on the 0..255 scale."""


class ModelConfig(_Config):
    """A SimCC pose network."""

    backbone: Annotated[TimmBackbone | OnnxBackbone, Field(discriminator="kind")]

    resolution: int = Field(64, gt=0, multiple_of=32)
    """`R`, the side of the crop in pixels."""

    upscale: float = Field(1.0, ge=1)
    """The network enlarges its crops this much (bilinear) before the backbone: a backbone that was
    trained on larger people then sees features it knows. `R * upscale` is a multiple of 32."""

    split_factor: int = Field(3, ge=1)
    """`k`, bins per crop pixel."""

    label_sigma: float = Field(4.0, gt=0)
    """Standard deviation of the gaussian labels, in bins."""

    @model_validator(mode="after")
    def _upscaled_size_fits(self) -> ModelConfig:
        if (self.resolution * self.upscale) % 32:
            raise ValueError(
                f"resolution {self.resolution} x upscale {self.upscale} is no multiple of 32"
            )
        return self


class SourceConfig(_Config):
    """One annotated folder of pictures."""

    annotations: Path
    """COCO-style keypoint file of any known keypoint set."""

    images: Path
    """The folder its file names are relative to."""

    extent_boxes: bool = False
    """Whether the labelled boxes are only the extent of the joints, smaller than a detector's."""

    detector: Path | None = None
    """A model repository whose `person_detector` is run once over the pictures: a labelled box is
    replaced by the detected one that fits it best, as the pose model will be given in use."""

    repeat: int = Field(1, ge=1)
    """How often each person counts per epoch."""


class AugmentationConfig(_Config):
    """Random crops; every strength may be 0."""

    scale: float = Field(0.3, ge=0, lt=1)
    """Standard deviation of the crop's scale, cut off at one."""

    shift: float = Field(0.05, ge=0)
    """Largest displacement of the crop, as a fraction of its side."""

    rotation: float = Field(40.0, ge=0)
    """Standard deviation in degrees, cut off at two."""

    rotation_probability: float = Field(0.6, ge=0, le=1)

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a mirrored crop."""

    half_body: float = Field(0.3, ge=0, le=1)
    """Probability of a crop around only the upper or lower half of a well-labelled person."""

    color: float = Field(0.3, ge=0, lt=1)
    """Largest relative change of brightness; a third of it per channel, half of it as offset."""

    heights: tuple[float, float] | None = None
    """Draw the person's height log-uniformly between these pixels by shrinking the picture."""


class OptimizerConfig(_Config):
    """AdamW with a linear warm-up and a cosine to zero."""

    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(64, ge=2)
    """At least 2: batch norm cannot train on one sample."""

    epochs: int = Field(30, ge=1)
    warmup_epochs: float = Field(1.0, ge=0)
    clip_norm: float = Field(5.0, gt=0)
    """Largest norm of the gradient."""

    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Decay per step of the averaged weights that are evaluated and kept; 0 keeps the last."""


class TrainConfig(_Config):
    """One run of `farpose train` for a pose model."""

    task: Literal["pose"]

    output: Path
    """Folder for checkpoints and the log; an unfinished run in it is resumed."""

    keypoint_set: str = "coco17"
    """The joints the model predicts; sources are converted to it."""

    seed: int = 0
    threads: int | None = None
    """CPU threads, all of them when not given."""

    init: Path | None = None
    """A checkpoint to start from. Weights whose name and shape fit are taken, so a model with
    another resolution or other joints can start from one that was trained already."""

    model: ModelConfig
    train: tuple[SourceConfig, ...] = Field(min_length=1)
    val: SourceConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()

    evaluate_every: int = Field(5, ge=1)
    """Epochs between evaluations on `val`; the last epoch is always evaluated."""

    @model_validator(mode="after")
    def _known_keypoint_set(self) -> TrainConfig:
        from farpose.keypoints import keypoint_set

        keypoint_set(self.keypoint_set)
        return self


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a configuration file, fill `${NAME}` from the environment and apply `a.b=value`.

    Raises:
        ConfigError: the file is missing or not YAML, a variable is not set, or an override is
            malformed.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        content = yaml.safe_load(_expand(text, path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping of settings is expected")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override}: write it as key.subkey=value")
        *parents, last = key.split(".")
        target = content
        for name in parents:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {override}: {name} holds no settings of its own")
        target[last] = yaml.safe_load(value)
    return content


def parse_train_config(content: dict[str, Any]) -> TrainConfig:
    """Check a configuration; `ConfigError` lists every wrong field."""
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(problems) from error


def _expand(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{path}: the environment variable {name} is not set")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)
