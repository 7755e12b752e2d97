"""The service's options as keyword arguments; unknown ones are refused here already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypedDict

from farpose_client.errors import InvalidOptionsError


class StreamOptions(TypedDict, total=False):
    """Options of a camera's pictures. None, or leaving one out, takes the service's default."""

    detection_threshold: float | None
    """People the detector is less sure of are left out; 0.05 to 1."""

    keypoint_threshold: float | None
    """Joints that score lower are answered as 0, 0, 0; 0 to 1."""

    max_people: int | None
    """At most this many people, the surest first; 1 to 100."""

    detector_size: int | None
    """Longer side of the picture the detector sees, in pixels: 640 unless said otherwise; 416 and
    320 are faster and miss more small people."""

    pose_model: str | None
    """Name of a pose model that the service has, or `auto`."""

    variances: bool | None
    """Whether to answer the spread of every joint."""


class PictureOptions(StreamOptions, total=False):
    """Options of pictures that have nothing to do with each other."""

    boxes: Iterable[Iterable[float]] | None
    """People's boxes, x1, y1, x2, y2 in picture pixels: the detector is then not run. An empty list
    finds nobody."""


class PoseOptions(PictureOptions, total=False):
    """Options of one picture."""

    camera_id: str | None
    """Name of the camera the picture is from: its people keep their `track_id`."""

    timestamp: float | None
    """Seconds at which the camera took the picture, by any clock that goes with it. Only with
    `camera_id`."""


def query_of(options: Mapping[str, Any], known: type) -> dict[str, str]:
    """Options as the query of an address.

    Args:
        options: as the caller gave them.
        known: the `TypedDict` of those that there are.

    Raises:
        InvalidOptionsError: one is not known, or cannot be written down.
    """
    names = list(known.__annotations__)
    query = {}
    for name, value in options.items():
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"do you mean {near[0]}?" if near else f"there are {', '.join(names)}."
            raise InvalidOptionsError(f"{name}: there is no such option here: {hint}")
        if value is not None:
            query[name] = _boxes(value) if name == "boxes" else _text(name, value)
    return query


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    try:
        return repr(value.item() if hasattr(value, "item") else value)  # NumPy's numbers too
    except (TypeError, ValueError) as error:
        raise InvalidOptionsError(f"{name}: not one value: {error}") from None


def _boxes(boxes: Iterable[Iterable[float]]) -> str:
    try:
        rows = [[float(edge) for edge in box] for box in boxes]
    except (TypeError, ValueError) as error:
        raise InvalidOptionsError(f"boxes: rows of x1, y1, x2, y2 are needed: {error}") from None
    for row in rows:
        if len(row) != 4:
            raise InvalidOptionsError(f"boxes: a row has x1, y1, x2, y2, not {len(row)} numbers")
    return ";".join(",".join(_edge(edge) for edge in row) for row in rows)


def _edge(edge: float) -> str:
    """To a thousandth of a pixel: 1000 boxes stay below the 64 KiB that an address may have."""
    return f"{edge:.3f}".rstrip("0").rstrip(".")
