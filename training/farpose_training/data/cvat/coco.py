"""CVAT's export "COCO Keypoints 1.0": COCO's layout with the annotator's own joint labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from farpose_training.data.cvat.annotations import CvatPerson, CvatPicture
from farpose_training.data.cvat.errors import CvatError
from farpose_training.data.cvat.labels import JointLabels


def read_coco(
    content: Any, source: str, labels: JointLabels, skeleton: str | None = None
) -> list[CvatPicture]:
    """The pictures and people of a parsed file.

    Args:
        content: the parsed JSON.
        source: what to call the file in errors.
        labels: which labels become which joints.
        skeleton: read only the skeletons with this label; all of them if not given.

    Raises:
        CvatError: it is no such file, or a label is not known.
    """
    try:
        channels = {
            category["id"]: labels.channels(category["keypoints"], f"{source} {category['name']!r}")
            for category in content["categories"]
            if category.get("keypoints") and skeleton in (None, category["name"])
        }
        if not channels:
            wanted = "has joints" if skeleton is None else f"is named {skeleton!r}"
            raise CvatError(
                f"{source}: none of its skeletons {wanted}; label people with a skeleton and "
                "export them as 'COCO Keypoints 1.0'"
            )
        people: dict[int, list[CvatPerson]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            if annotation["category_id"] in channels:
                person = _person(annotation, channels[annotation["category_id"]], labels, source)
                people[annotation["image_id"]].append(person)
        return [
            CvatPicture(
                name=str(image["file_name"]),
                width=int(image["width"]),
                height=int(image["height"]),
                people=tuple(people[image["id"]]),
            )
            for image in content["images"]
        ]
    except CvatError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CvatError(f"{source}: not a COCO-style keypoint file ({error!r})") from error


def _person(
    annotation: dict[str, Any], channels: NDArray[np.intp], labels: JointLabels, source: str
) -> CvatPerson:
    # Some versions leave the list of a track empty.
    values = annotation["keypoints"] or [0.0] * 3 * len(channels)
    if len(values) != 3 * len(channels):
        raise CvatError(
            f"{source}: annotation {annotation['id']} has {len(values)} numbers for its joints, "
            f"its skeleton {len(channels)} joints of 3; export it as 'CVAT for images 1.1' instead"
        )
    box = None
    if annotation.get("bbox"):
        x, y, width, height = map(float, annotation["bbox"])
        box = (x, y, x + width, y + height)
    joints = np.asarray(values, np.float64).reshape(-1, 3)
    crowd = bool(annotation.get("iscrowd"))
    return CvatPerson.from_joints(joints, channels, len(labels.target), box, crowd)
