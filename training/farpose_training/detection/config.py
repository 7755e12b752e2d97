"""Typed configuration of a detector training run; wrong keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from farpose_training.config import ConfigError


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LabelConfig(_Config):
    """What the teacher looks at, and when its boxes count."""

    lspet_pictures: int = Field(2500, ge=0)
    """So many pictures of `lspet/train`, evenly spaced."""

    video_frames: int = Field(60, ge=0)
    """So many frames of each video, evenly spaced."""

    coco_sizes: tuple[int, ...] = (640, 800)
    """Input sizes of the teacher on `coco_mini`; every picture is also seen mirrored."""

    lspet_sizes: tuple[int, ...] = (448,)
    """Its pictures are small, about 280 x 260 pixels."""

    video_sizes: tuple[int, ...] = (640,)

    floor: float = Field(0.1, gt=0, lt=1)
    """Boxes with a lower teacher score are dropped."""

    doubtful: float = Field(0.15, gt=0, lt=1)
    """Teacher score up to which a box that is kept counts for nothing; but its points are not
    background that must stay below the start weights."""

    sure: float = Field(0.4, gt=0, lt=1)
    """Teacher score from which a box counts like the truth; in between it rises linearly."""

    @model_validator(mode="after")
    def _ordered(self) -> LabelConfig:
        if not self.floor <= self.doubtful < self.sure:
            raise ValueError("floor, doubtful and sure are in rising order")
        return self


class MosaicConfig(_Config):
    """How training samples are composed."""

    grids: dict[int, float] = {1: 0.6, 2: 0.4}
    """Cells per side of the mosaic -> probability."""

    scale: tuple[float, float] = (0.6, 1.2)
    """Longer side of a single picture relative to the sample's, drawn log-uniformly; in a mosaic
    it is divided by the square root of the cells per side."""

    source_weights: dict[str, float] = {"coco": 0.4, "lspet": 0.52, "video": 0.08}
    """Probability that a cell shows a picture of each source."""

    soften: float = Field(0.15, ge=0, le=1)
    """Probability of an area or bilinear resize, blurrier than the one used in serving."""

    degrade: float = Field(0.05, ge=0, le=1)
    """Probability of each of JPEG artefacts, blur and noise."""

    @field_validator("grids", "source_weights")
    @classmethod
    def _probabilities(cls, value: dict[Any, float]) -> dict[Any, float]:
        if not value or min(value.values()) < 0 or abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError("probabilities are not negative and sum to 1")
        return value


class DetectorTrainConfig(_Config):
    """One run of `farpose train` for the person detector."""

    task: Literal["person_detector"]

    data: Path
    """The data folder, with `coco_mini`, `lspet`, `video`."""

    start: Path
    """RTMDet-nano's ONNX file, or a checkpoint of an earlier run (`.safetensors`)."""

    output: Path
    """Folder for labels, checkpoints and the log; an unfinished run in it is resumed."""

    export_to: Path | None = None
    """Model folder that gets `checkpoint.safetensors` and `1/model.onnx` in the end."""

    facts: dict[str, str] = {}
    """More metadata for the exported files, a summary of the metrics for one."""

    seed: int = 0

    threads: int = Field(1, ge=1)
    """CPU threads."""

    labels: LabelConfig = LabelConfig()
    mosaic: MosaicConfig = MosaicConfig()

    sizes: dict[int, float] = {320: 0.85, 416: 0.15}
    """Sample size in pixels -> probability; one size per batch."""

    batch_size: int = Field(8, ge=1)
    """At 320 pixels; larger sizes get fewer samples for the same number of pixels."""

    steps: int = Field(700, ge=1)
    learning_rate: float = Field(3e-5, gt=0)
    warmup_steps: int = Field(20, ge=1)
    weight_decay: float = Field(0.0, ge=0)

    drift_weight: float = Field(0.02, ge=0)
    """Weight of keeping background logits at or below those of the start weights."""

    blend: float = Field(0.6, gt=0, le=1)
    """Exported weights are start + blend x (trained - start)."""

    clip_norm: float = Field(10.0, gt=0)
    """Largest norm of the gradient."""

    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the averaged weights that are exported."""

    checkpoint_every: int = Field(100, ge=1)
    """Steps between checkpoints of the run."""

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, value: dict[int, float]) -> dict[int, float]:
        if any(size <= 0 or size % 32 for size in value):
            raise ValueError("sample sizes are positive multiples of 32")
        if not value or min(value.values()) < 0 or abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError("probabilities are not negative and sum to 1")
        return value


def parse_config(content: Mapping[str, Any]) -> DetectorTrainConfig:
    """Check a configuration; `ConfigError` lists every wrong field."""
    try:
        return DetectorTrainConfig.model_validate(dict(content))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(problems) from error
