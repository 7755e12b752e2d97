"""What was found in a picture, as the service and a camera's records tell it."""

from __future__ import annotations

from typing import Any

from farpose.result import PoseResult
from farpose.unsure import unsure_joints


def answer_of(result: PoseResult, *, variances: bool = False) -> dict[str, Any]:
    """`image`, `models`, `keypoint_names`, `people` and `timing_ms`, plain for JSON.

    Args:
        result: of the pipeline.
        variances: whether people have theirs too, in pixels squared.
    """
    people = result.people.to_dict(variances=variances)
    for person, unsure in zip(people["people"], unsure_joints(result.people), strict=True):
        person["unsure"] = unsure.tolist()
    return {
        "image": {"width": result.width, "height": result.height},
        "models": dict(result.models),
        **people,
        "timing_ms": dict(result.timing_ms),
    }
