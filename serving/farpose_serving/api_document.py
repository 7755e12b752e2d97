"""What OpenAPI says beside the routes: problems with their headers, and streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastapi import FastAPI

from farpose_serving.problems import (
    DEADLINE,
    FOREIGN_ORIGIN,
    INCOMPLETE_BODY,
    INTERNAL,
    INVALID_REQUEST,
    NO_TRACKING,
    NOT_READY,
    ONE_WORKER,
    OVERLOADED,
    PROBLEM_TYPE,
    STALE_FRAME,
    SUPERSEDED,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNREADABLE_IMAGE,
    UNSUPPORTED_TYPE,
    Kind,
    ProblemDetails,
)

DESCRIPTION: Final = """
Post a picture to `/pose`, get its people with their keypoints.

**Streams.** `WS /stream` takes the pictures of one camera, whose people keep their `track_id`.
The query takes the options of `POST /pose` but `format`, `boxes`, `camera_id` and `timestamp`. A
binary message is one encoded picture. A text message is a JSON object of options for the pictures
that follow; its `timestamp` is for the next one alone. An answer is a text message: the answer of
`POST /pose` with `frame` (the picture's number in the connection, from 0), `dropped` (pictures
left out since the last answer, as a newer one had come) and `frame_age_ms`. What is wrong is
answered with a problem, and the stream goes on. Closing codes: 1008 the key is missing or wrong,
1009 the message is too large, 1011 the service failed, 1012 it stops, 1013 it is too busy. A
page, which cannot send headers, sends `{"api_key": "..."}` first.

**Problems** are `application/problem+json` (RFC 9457) at every address. Addresses and methods
that do not exist are 404 and 405. What is no HTTP is 400 `no-http`; a head that is too large is
431.
"""

DETAILS: Final[dict[Kind, str]] = {
    UNREADABLE_IMAGE: "The picture is cut off; send one whole JPEG, PNG or WebP picture.",
    INCOMPLETE_BODY: "The connection ended early: send it again.",
    UNAUTHORIZED: "The API key is missing: send Authorization: Bearer KEY or X-API-Key: KEY.",
    FOREIGN_ORIGIN: "A page of another origin sends this: FARPOSE_CORS_ORIGINS lets it.",
    SUPERSEDED: "A newer picture of the camera took the place of this one.",
    STALE_FRAME: "The picture is not newer than the last one of its camera.",
    ONE_WORKER: "camera_id: this service runs in several processes: open WS /stream.",
    TOO_LARGE: "The body is larger than the 20000000 bytes allowed: send a smaller picture.",
    UNSUPPORTED_TYPE: "A GIF picture is not supported: send JPEG, PNG or WebP.",
    INVALID_REQUEST: "max_people: Input should be less than or equal to 100.",
    TOO_MANY: "More than 20 pictures per 1 s: send the next in 1 s.",
    INTERNAL: "The service failed on this request: its log says more under this id.",
    NO_TRACKING: "Following people needs the package trackers, which is not installed here.",
    NOT_READY: "The models are not loaded: try again in a moment.",
    OVERLOADED: "Too many requests are waiting: try again a little later.",
    DEADLINE: "The people were not found within the deadline: try again a little later.",
}
"""What a caller may read in each."""

_NUMBER: Final = {"type": "string", "pattern": r"^\d+$"}
REQUEST_ID: Final = {
    "X-Request-ID": {
        "description": "The request's id in the log; a sane one of the caller's stays.",
        "schema": {"type": "string"},
    }
}
RATE: Final = {
    "RateLimit-Policy": {
        "description": 'The rate, if any: q pictures in w seconds, `"pictures";q=20;w=1`.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of it: r pictures for t seconds, `"pictures";r=5;t=1`.',
        "schema": {"type": "string"},
    },
}
_RETRY: Final = {
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": _NUMBER}
}
_OF_STATUS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "How a key is sent.", "schema": {"type": "string"}}},
    415: {"Accept": {"description": "The types that are supported.", "schema": {"type": "string"}}},
    429: {**_RETRY, **RATE},
    503: _RETRY,
    504: _RETRY,
}


def problem_responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """OpenAPI documentation of the problems a route answers with."""
    return {
        status: {
            "description": "; or: ".join(kind.title for kind in same),
            "headers": {**REQUEST_ID, **_OF_STATUS.get(status, {})},
            "content": {
                PROBLEM_TYPE: {
                    "schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"},
                    "examples": {kind.name: {"value": _example(kind)} for kind in same},
                }
            },
        }
        for status, same in sorted(_by_status(kinds).items())
    }


def add_problem_schema(app: FastAPI) -> None:
    """Put what `problem_responses` refers to into the application's document."""
    document_of_routes = app.openapi

    def document() -> dict[str, Any]:
        found = document_of_routes()
        schema = ProblemDetails.model_json_schema()
        found["components"]["schemas"].setdefault(ProblemDetails.__name__, schema)
        return found

    app.openapi = document  # type: ignore[method-assign]


def _by_status(kinds: Iterable[Kind]) -> dict[int, list[Kind]]:
    grouped: dict[int, list[Kind]] = {}
    for kind in kinds:
        grouped.setdefault(kind.status, []).append(kind)
    return grouped


def _example(kind: Kind) -> dict[str, Any]:
    return ProblemDetails(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=DETAILS[kind],
        id="0f8e6a7c2b1d4f0e9a3c5b7d9e1f2a3b",
    ).model_dump()
