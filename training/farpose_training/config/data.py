"""Data: annotated folders, and how their people are augmented."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from farpose_training.config.base import Config


class SourceConfig(Config):
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


class AugmentationConfig(Config):
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
