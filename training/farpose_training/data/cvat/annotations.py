"""What an export says, and the COCO-style file made from it.

CVAT places points on a continuous plane: the first pixel spans 0 to 1, its centre is 0.5. Farpose's
files have boxes on that plane, and joints as pixel-centre indices, half a pixel less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.boxes import EXTENT_SCALE
from farpose.keypoints import KeypointSet

MIN_JOINTS: Final = 2
"""A person with fewer labelled joints has no size to crop by."""

DRAWN_MARGIN: Final = 1.0
"""A box that nowhere reaches further than this beyond the joints (pixels) is only their extent."""

AREA_SHARE: Final = 0.53
"""COCO's areas for OKS are of the person's outline: about this share of a box."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 on the continuous plane."""


@dataclass(frozen=True)
class CvatPerson:
    """One skeleton."""

    keypoints: NDArray[np.float64]
    """`[J,3]` x, y on the continuous plane of the picture, and visibility: 2, 1 where the joint was
    marked occluded, 0 where it was marked outside or is not labelled."""

    extent: Box | None
    """What the labelled joints span, those that the keypoint set lacks too; None without any."""

    box: Box | None = None
    """As exported, None where there is none."""

    crowd: bool = False

    @classmethod
    def from_joints(
        cls,
        joints: NDArray[np.float64],
        channels: NDArray[np.intp],
        count: int,
        box: Box | None = None,
        crowd: bool = False,
    ) -> Self:
        """Put the `L` joints of an export `[L,3]` into their `[L]` channels of `count`."""
        kept = channels >= 0
        keypoints = np.zeros((count, 3))
        keypoints[channels[kept]] = joints[kept]
        points = joints[joints[:, 2] > 0, :2]
        extent = None
        if len(points):
            (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            extent = (x1, y1, x2, y2)
        return cls(keypoints, extent, box, crowd)


@dataclass(frozen=True)
class CvatPicture:
    """One picture, with or without people."""

    name: str
    """As CVAT names it, with `/` between folders."""

    width: int
    height: int
    people: tuple[CvatPerson, ...]

    subset: str = ""
    """The part of a project that it is in."""


def to_coco(pictures: Iterable[CvatPicture], joints: KeypointSet) -> dict[str, Any]:
    """The content of a file that `farpose train` and `farpose evaluate` read.

    People with fewer than two labelled joints are left out; pictures without people stay.

    Args:
        pictures: with the joints of `joints`.
        joints: the keypoint set.
    """
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for image_id, picture in enumerate(pictures, 1):
        size = {"width": picture.width, "height": picture.height}
        content["images"].append({"id": image_id, "file_name": picture.name, **size})
        for person in picture.people:
            if person.extent is None or (person.keypoints[:, 2] > 0).sum() < MIN_JOINTS:
                continue
            box = person_box(person.extent, person.box, picture.width, picture.height)
            annotation = {"id": len(content["annotations"]) + 1, "image_id": image_id}
            content["annotations"].append(annotation | _annotation(person, box))
    category = {"id": 1, "name": "person", "keypoints": list(joints.joints)}
    return {**content, "categories": [category]}


def person_box(extent: Box, drawn: Box | None, width: int, height: int) -> NDArray[np.float64]:
    """`[4]` x1, y1, x2, y2 much as a detector draws it, inside the picture.

    A box that the annotator drew stays. CVAT's own boxes only span the joints: they, and missing
    ones, become that span enlarged by 1.2, at least a pixel wide and high.

    Args:
        extent: what the labelled joints span.
        drawn: the exported box, if there is one.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    span = np.asarray(extent, np.float64)
    box = span if drawn is None else np.asarray(drawn, np.float64)
    reach = np.concatenate([span[:2] - box[:2], box[2:] - span[2:]]).max()
    if reach < DRAWN_MARGIN or (box[2:] <= box[:2]).any():
        middle = (span[:2] + span[2:]) / 2
        half = np.maximum((span[2:] - span[:2]) / 2 * EXTENT_SCALE, 0.5)
        box = np.concatenate([middle - half, middle + half])
    return np.clip(box, 0, [width, height, width, height])


def _annotation(person: CvatPerson, box: NDArray[np.float64]) -> dict[str, Any]:
    labelled = person.keypoints[:, 2:] > 0
    keypoints = np.where(labelled, person.keypoints - (0.5, 0.5, 0), 0)
    x1, y1, x2, y2 = box
    return {
        "category_id": 1,
        "iscrowd": int(person.crowd),
        "bbox": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        "area": round(float((x2 - x1) * (y2 - y1)) * AREA_SHARE, 2),
        "keypoints": [round(float(v), 2) for v in keypoints.ravel()],
        "num_keypoints": int(labelled.sum()),
    }
