"""What the Triton model `pose_pipeline` takes and answers: one picture, its people.

Both sides are here: the model inside Triton, and callers that turn its tensors back into results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from farpose.geometry import BoxError
from farpose.images import ImageError, ImageFormatError, ImageTooLargeError
from farpose.keypoints import keypoint_set
from farpose.options import OptionsError as OptionsError
from farpose.options import PoseOptions, complaints
from farpose.people import People
from farpose.pipeline import PoseResult

PIPELINE: Final = "pose_pipeline"

OUTPUTS: Final = ("boxes", "scores", "keypoints", "variances", "details")


CALLERS_ERRORS: Final = {
    kind.__name__: kind
    for kind in (ImageError, ImageFormatError, ImageTooLargeError, BoxError, OptionsError)
}
"""What a caller can put right. An answer begins with one of these names."""


def options_text(options: PoseOptions) -> bytes:
    """The value of the input `options`: what differs from the defaults, as JSON."""
    known = set(PoseOptions.model_fields)  # a subclass may have others
    return options.model_dump_json(include=known, exclude_defaults=True).encode()


def parse_options(text: bytes | str) -> PoseOptions:
    """The options of a request.

    Raises:
        OptionsError: unknown keys, values that are not allowed, no JSON.
    """
    try:
        return PoseOptions.model_validate_json(text)
    except ValidationError as error:
        raise OptionsError("; ".join(complaints(error, "options"))) from None


def to_tensors(result: PoseResult) -> dict[str, NDArray[Any]]:
    """The outputs of the model; `details` is JSON of what has no tensor of its own."""
    people = result.people
    details = {
        "width": result.width,
        "height": result.height,
        "models": dict(result.models),
        "pose_models": list(people.models),
        "keypoint_set": people.keypoint_set.name,
        "keypoint_names": list(people.keypoint_set.joints),
        "timing_ms": dict(result.timing_ms),
    }
    return {
        "boxes": people.boxes,
        "scores": people.scores,
        "keypoints": people.keypoints,
        "variances": people.variances,
        "details": np.array([json.dumps(details).encode()], object),
    }


def from_tensors(tensors: Mapping[str, NDArray[Any]]) -> PoseResult:
    """The result that a model's outputs stand for."""
    details = json.loads(tensors["details"][0])
    people = People(
        boxes=tensors["boxes"],
        scores=tensors["scores"],
        keypoints=tensors["keypoints"],
        variances=tensors["variances"],
        models=tuple(details["pose_models"]),
        keypoint_set=keypoint_set(details["keypoint_set"]),
    )
    return PoseResult(
        people, details["width"], details["height"], details["models"], details["timing_ms"]
    )


def error_text(error: Exception) -> str:
    """The message that a model answers an exception with."""
    return f"{type(error).__name__}: {error}"


def callers_error(message: str) -> Exception | None:
    """The exception that a message stands for, if the caller can put it right."""
    name, _, text = message.partition(": ")
    kind = CALLERS_ERRORS.get(name)
    return None if kind is None else kind(text)
