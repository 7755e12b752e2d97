"""Results as the package `supervision` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpose_client.optional import optional

if TYPE_CHECKING:
    import supervision

    from farpose_client.results import PoseResult

_CALLS: Final = "to_supervision() and to_detections()"


def keypoints(result: PoseResult) -> supervision.KeyPoints:
    """See `PoseResult.to_supervision`."""
    with optional(_CALLS, "supervision", "supervision"):
        import numpy as np
        import supervision as sv
    if not result.people:
        return sv.KeyPoints.empty()
    joints = np.array([person.keypoints for person in result.people], np.float32)
    return sv.KeyPoints(
        xy=joints[:, :, :2],
        keypoint_confidence=joints[:, :, 2],
        class_id=np.zeros(len(joints), np.intp),
    )


def detections(result: PoseResult) -> supervision.Detections:
    """See `PoseResult.to_detections`."""
    with optional(_CALLS, "supervision", "supervision"):
        import numpy as np
        import supervision as sv
    people = result.people
    if not people:
        return sv.Detections.empty()
    ids = [person.track_id for person in people]
    return sv.Detections(
        xyxy=np.array([person.box for person in people], np.float32),
        confidence=np.array([person.score for person in people], np.float32),
        class_id=np.zeros(len(people), np.intp),
        tracker_id=None if set(ids) == {None} else np.array([-1 if i is None else i for i in ids]),
    )
