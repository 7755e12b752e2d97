"""Data: annotated folders, and how their people are augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from farpose.evaluation.formats import AnnotationFormat
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
    """COCO-style keypoint file of any known keypoint set, or one of MPII's."""

    format: AnnotationFormat = "auto"
    """Layout of `annotations`: `coco`, `mpii` (HRNet's JSON or the release's `.mat`), or `auto`,
    which goes by the file."""

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


DRAWN_HEIGHTS = (96.0, 224.0)
"""Least and largest height of drawn people if nothing else is said, pixels."""

LEAST_DRAWN_HEIGHT = 8.0
"""Smaller people would be no more than a smear, pixels."""


class ProceduralSource(Config):
    """Drawn people, one per picture, whose joints are known exactly: a source without a download.

    The folder is made where it is first read.
    """

    kind: Literal["procedural"]

    folder: Path
    """Where they are kept; one that was drawn with other settings is refused."""

    people: int = Field(ge=1)

    seed: int = Field(0, ge=0)
    """Another one draws other people."""

    heights: tuple[float, float] = DRAWN_HEIGHTS
    """Least and largest height of a person, drawn log-uniformly between them, pixels."""

    repeat: int = Field(1, ge=1)
    """How often each person counts per epoch."""

    part: PartConfig | None = None
    """Use only some of the pictures."""

    @model_validator(mode="after")
    def _heights_are_a_range(self) -> ProceduralSource:
        if not LEAST_DRAWN_HEIGHT <= self.heights[0] <= self.heights[1]:
            raise ValueError(
                f"heights {list(self.heights)}: the lower one first, at least "
                f"{LEAST_DRAWN_HEIGHT:g} pixels"
            )
        return self


DRAWN_ANNOTATIONS = "people.json"
"""The annotation file in the folder of a procedural source."""


def _kind(source: Any) -> Any:
    """Which sort of source is meant: annotated ones say no `kind`."""
    if isinstance(source, dict):
        return source.get("kind", "annotated")
    return "procedural" if isinstance(source, ProceduralSource) else "annotated"


Source = Annotated[
    Annotated[SourceConfig, Tag("annotated")] | Annotated[ProceduralSource, Tag("procedural")],
    Discriminator(
        _kind,
        custom_error_type="unknown_source",
        custom_error_message="`kind` is procedural for drawn people, and not given for an "
        "annotated folder",
    ),
]
"""People to train or score on."""


def annotated(source: SourceConfig | ProceduralSource) -> SourceConfig:
    """The annotated folder that a source is, or will be once it is drawn."""
    if isinstance(source, SourceConfig):
        return source
    return SourceConfig(
        annotations=source.folder / DRAWN_ANNOTATIONS,
        format="coco",
        images=source.folder,
        repeat=source.repeat,
        part=source.part,
    )


class DegradationConfig(Config):
    """What a cheap camera does to the student's picture; strengths are drawn up to these."""

    probability: float = Field(0.3, ge=0, le=1)
    """Of each of the degradations."""

    blur: float = Field(1.5, ge=0)
    """Largest standard deviation of a gaussian blur, pixels of the (shrunk) picture."""

    motion: float = Field(5.0, ge=0)
    """Longest motion blur, pixels; 1 for none."""

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
    """Probability of a crop around only the upper or lower half of a person with more than 8
    labelled joints."""

    color: float = Field(0.3, ge=0, lt=1)
    """Largest relative change of brightness; a third of it per channel, half of it as offset."""

    heights: tuple[float, float] | None = None
    """Draw the person's height log-uniformly between these pixels by shrinking the picture; in a
    half-body crop, the half's height."""

    degradation: DegradationConfig | None = None
    """Blur, noise and compression of what the student sees; none if not given."""
