"""Data: annotated folders, and how their people are augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from farpose_training.config.base import Config


class PartConfig(Config):
    """One in `of` pictures, chosen by their ids: the same ones in every run and on every machine.

    People in one picture stay together, so that no part of it is both trained and scored on.
    """

    of: int = Field(ge=2)

    fold: int = Field(0, ge=0)
    """Which of the `of` equal parts is meant."""

    keep: Literal["in", "out"]
    """Use the pictures `in` this part, or those left `out` of it."""


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

    part: PartConfig | None = None
    """Use only some of the pictures."""


class DegradationConfig(Config):
    """What a cheap camera does to the student's picture; strengths are drawn up to these."""

    probability: float = Field(0.3, ge=0, le=1)
    """Of each of the degradations."""

    blur: float = Field(1.5, ge=0)
    """Largest standard deviation of a gaussian blur, pixels of the (shrunk) picture."""

    motion: float = Field(5.0, ge=0)
    """Longest motion blur, pixels."""

    resampling: float = Field(0.5, gt=0, le=1)
    """Smallest size that the picture is brought down to and up from again; 1 for none."""

    noise: float = Field(10.0, ge=0)
    """Largest standard deviation of sensor noise at mid-grey, grey levels."""

    quality: int = Field(30, ge=1, le=100)
    """Lowest JPEG quality; 100 for no compression."""


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

    degradation: DegradationConfig | None = None
    """Blur, noise and compression of what the student sees; none if not given."""
