"""What goes over a camera's connection beside pictures."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import ConfigDict, Field

from farpose.options import PoseOptions
from farpose_serving.answers import PoseAnswer
from farpose_serving.problems import INVALID_REQUEST, ProblemDetails, ProblemError
from farpose_serving.queries import check_known, validated


class StreamOptions(PoseOptions):
    """Options of a camera's pictures; those that were given once stay."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    boxes: None = None
    """The session finds people itself."""

    timestamp: float | None = Field(None, allow_inf_nan=False)
    """Seconds at which the camera took the next picture, by any clock that goes with it; the
    arrival when not given."""

    def changed(self, text: str) -> Self:
        """These options with what a text message changes; a timestamp stays for the next picture.

        Raises:
            ProblemError: the text is no JSON object of options.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            wanted = 'such as {"detection_threshold": 0.5}'
            raise ProblemError(INVALID_REQUEST, f"A text message is a JSON object, {wanted}.")
        check_known(given, type(self))
        before = self.model_dump(exclude_unset=True)
        return validated({**before, **given}, type(self))

    def pose_options(self) -> PoseOptions:
        """What the pipeline is asked."""
        return PoseOptions.model_validate(
            self.model_dump(exclude_unset=True, exclude={"timestamp"})
        )

    def for_next(self) -> Self:
        """These options for the picture after the next."""
        return self.model_copy(update={"timestamp": None})


class StreamAnswer(PoseAnswer):
    """The people of one picture of a camera."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    frame: int
    """Number of the picture among those of the connection, from 0."""

    dropped: int
    """Pictures since the last answer that were dropped because a newer one had come."""

    frame_age_ms: float
    """Milliseconds from the picture's arrival to this answer."""


def problem_message(problem: ProblemError, identifier: str, **more: Any) -> dict[str, Any]:
    """A problem as a camera gets it."""
    return {**ProblemDetails.of(problem, identifier).model_dump(), **more}
