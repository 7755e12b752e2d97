"""The request and the answer of the Triton model `pose_pipeline`.

Both clients of `tritonclient` take the same request: `tritonclient.grpc` and
`tritonclient.grpc.aio`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from people import People
from tritonclient.grpc import InferInput, InferResult

MODEL = "pose_pipeline"


def request(picture: bytes, options: str = "{}") -> list[InferInput]:
    """The inputs: an encoded picture, and JSON with the keys of the HTTP service's query."""
    values = {"image": picture, "options": options.encode()}
    inputs = []
    for name, value in values.items():
        inputs.append(InferInput(name, [1], "BYTES"))
        # An array of objects: an array of bytes would lose zeros at the end.
        inputs[-1].set_data_from_numpy(np.array([value], object))
    return inputs


def people(result: InferResult) -> People:
    """The people of an answer."""
    return People(
        boxes=result.as_numpy("boxes"),
        scores=result.as_numpy("scores"),
        keypoints=result.as_numpy("keypoints"),
        names=details(result)["keypoint_names"],
    )


def details(result: InferResult) -> dict[str, Any]:
    """What has no tensor of its own: width, height, models, keypoint_names, timing_ms."""
    answer: dict[str, Any] = json.loads(result.as_numpy("details")[0])
    return answer
