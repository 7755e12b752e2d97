"""Results as COCO's evaluation reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from farpose_client.results import PoseResult

_SURE: Final = 0.2


def results(result: PoseResult, image_id: int, category_id: int) -> list[dict[str, Any]]:
    """A dictionary per person; see `PoseResult.to_coco`."""
    found = []
    for person in result.people:
        box = person.box
        sure = [joint.score for joint in person.keypoints if joint.score > _SURE]
        found.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [round(edge, 2) for edge in (box.x1, box.y1, box.width, box.height)],
                "keypoints": [value for joint in person.keypoints for value in joint],
                "score": person.score * (sum(sure) / len(sure) if sure else 0.0),
            }
        )
    return found
