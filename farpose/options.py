"""What a caller may ask of the pipeline; the same keys everywhere, unknown ones refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

DETECTOR_SIZES: Final = (320, 416, 640)
"""Detector input sizes that the bundled detector is measured at."""

Edge = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
"""Far outside of any picture, and far from where float32 overflows."""

Box = tuple[Edge, Edge, Edge, Edge]


def _parse_boxes(value: object) -> object:
    """`x1,y1,x2,y2;x1,y1,x2,y2` to nested tuples; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    parts = [part for part in value.split(";") if part.strip()]
    try:
        return tuple(tuple(float(edge) for edge in part.split(",")) for part in parts)
    except ValueError:
        raise ValueError(f"{value!r} is not x1,y1,x2,y2;x1,y1,x2,y2;...") from None


class PoseOptions(BaseModel):
    """Options of one request; the defaults suit wide-view cameras."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    detection_threshold: float = Field(0.35, ge=0.05, le=1)
    """People the detector is less sure of are left out. The bundled detector's card has the recall
    and the false boxes of every threshold."""

    keypoint_threshold: float = Field(0.0, ge=0, le=1)
    """Joints that score lower are answered as 0, 0, 0."""

    max_people: int = Field(100, ge=1, le=100)
    """At most this many people, the surest first."""

    detector_size: int = Field(640, ge=128, le=1280, multiple_of=32)
    """Longer side of the picture the detector sees, in pixels; smaller is faster and misses more
    small people. It does not change what the pose model sees."""

    pose_model: str = "auto"
    """Name of a pose model in the repository, or `auto`."""

    boxes: Annotated[tuple[Box, ...] | None, BeforeValidator(_parse_boxes)] = Field(
        None, max_length=1000
    )
    """People's boxes in picture pixels, `x1,y1,x2,y2;...`: the detector is then not run."""

    variances: bool = False
    """Whether to answer the spread of every joint."""


class OptionsError(ValueError):
    """The options are not valid; the message names the one."""


def checked_options(values: Mapping[str, Any]) -> PoseOptions:
    """Options of these values; `OptionsError` if they are not allowed."""
    try:
        return PoseOptions.model_validate(values)
    except ValidationError as error:
        raise OptionsError("; ".join(complaints(error))) from None


def complaints(error: ValidationError, *within: str) -> list[str]:
    """What is wrong, one sentence for each value: where it is, and what it should be."""
    return [
        ".".join([*within, *map(str, item["loc"])])
        + ": "
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_input=False)
    ]
