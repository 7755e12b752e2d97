"""When an answer is of no use any more."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request

from farpose_serving.problems import INVALID_REQUEST, ProblemError
from farpose_serving.service import service_of

DEADLINE_HEADER: Final = "X-Deadline-Ms"

DEADLINE_PARAMETER: Final[dict[str, Any]] = {
    "name": DEADLINE_HEADER,
    "in": "header",
    "required": False,
    "description": "Milliseconds after which the answer is of no use: the service then stops and "
    "answers 504. It has a deadline of its own, which this can only shorten.",
    "schema": {"type": "integer", "minimum": 1},
}
"""The header as OpenAPI says it."""


async def deadline_of(request: Request) -> float:
    """Seconds that a request may take.

    Raises:
        ProblemError: 422, the header is no positive whole number.
    """
    longest = service_of(request).settings.deadline_ms
    asked = request.headers.get(DEADLINE_HEADER)
    if asked is None:
        return longest / 1e3
    if not (asked.isascii() and asked.isdecimal() and 0 < len(asked) < 16 and int(asked) > 0):
        detail = f"{DEADLINE_HEADER}: give milliseconds as a whole number from 1."
        raise ProblemError(INVALID_REQUEST, detail)
    return min(int(asked), longest) / 1e3
