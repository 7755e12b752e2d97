"""What is asked of a service, for both clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farpose_client.call import Again, Request
from farpose_client.options import PoseOptions, query_of
from farpose_client.pictures import media_type_of


def pose_query(options: Mapping[str, Any], *, drawn: bool = False) -> dict[str, str]:
    """The query of `POST /pose`; `InvalidOptionsError` for an option that is not known."""
    query = query_of(options, PoseOptions)
    return {**query, "format": "image"} if drawn else query


def pose_request(content: bytes, query: Mapping[str, str]) -> Request:
    """`POST /pose`.

    A picture by itself can be sent again at will. One of a camera changes what the service knows of
    the camera: with a timestamp it is sent again if it was surely not looked at; without one never,
    as it would count as taken when it arrives.
    """
    again = Again.WHENEVER
    if "camera_id" in query:
        again = Again.UNTOUCHED if "timestamp" in query else Again.NEVER
    return Request("POST", "/pose", query, content, media_type_of(content), again)


MODELS = Request("GET", "/models", {})
READY = Request("GET", "/health/ready", {}, again=Again.NEVER)


def checked_concurrency(concurrency: int) -> int:
    """How many pictures are sent at once; `ValueError` below 1."""
    if concurrency < 1:
        raise ValueError(f"concurrency: at least 1, not {concurrency}")
    return concurrency
