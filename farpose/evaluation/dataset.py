"""COCO-style keypoint annotations of any keypoint set, checked while they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.ignored import Ignored
from farpose.keypoints import KEYPOINT_SETS, KeypointSet, keypoint_set_of

Annotation = dict[str, Any]
"""One entry of `annotations`."""


class DatasetError(ValueError):
    """Annotations or pictures cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Picture:
    """One picture of a dataset."""

    id: int
    path: Path
    width: int
    height: int

    def read(self) -> NDArray[np.uint8]:
        """The picture as `[H,W,3]` UINT8 RGB; `DatasetError` if it cannot be read."""
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DatasetError(f"{self.path}: not a readable picture")
        return np.asarray(image, np.uint8)


@dataclass(frozen=True)
class PoseDataset:
    """Pictures and the `P` labelled people in them."""

    keypoint_set: KeypointSet
    pictures: tuple[Picture, ...]

    picture_index: NDArray[np.intp]
    """`[P]` which of `pictures` a person is in."""

    boxes: NDArray[np.float64]
    """`[P,4]` x1, y1, x2, y2 in picture pixels, continuous edges."""

    keypoints: NDArray[np.float32]
    """`[P,J,3]` x, y (pixel-centre indices) and visibility; 0 is not labelled."""

    areas: NDArray[np.float64]
    """`[P]` pixels squared, for OKS."""

    ids: NDArray[np.int64]
    """`[P]` annotation ids."""

    head_sizes: NDArray[np.float64] | None = None
    """`[P]` picture pixels, nan where unknown, for PCKh; none where the format has none."""

    ignored: Ignored = field(default_factory=Ignored.empty)
    """Who else is in the pictures, for the precision."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def heights(self) -> NDArray[np.float64]:
        """`[P]` box heights in picture pixels."""
        return self.boxes[:, 3] - self.boxes[:, 1]

    def select(self, people: NDArray[Any]) -> PoseDataset:
        """Keep only these people (indices or a mask `[P]`); all pictures stay."""
        return replace(
            self,
            picture_index=self.picture_index[people],
            boxes=self.boxes[people],
            keypoints=self.keypoints[people],
            areas=self.areas[people],
            ids=self.ids[people],
            head_sizes=None if self.head_sizes is None else self.head_sizes[people],
        )

    def converted(self, target: KeypointSet) -> PoseDataset:
        """The same people with another set's joints; those this set lacks become unlabelled."""
        return replace(
            self, keypoint_set=target, keypoints=self.keypoint_set.convert(self.keypoints, target)
        )


def load_dataset(annotations: str | Path, images: str | Path) -> PoseDataset:
    """Read a COCO-style keypoint file.

    Crowds and people without a labelled joint are no people of the dataset, but its `ignored`;
    people with a box without area are left out. The keypoint set is recognised by the joint names
    of the file's category.

    Raises:
        DatasetError: the file is missing, malformed, of an unknown keypoint set, has no labelled
            person or a number that is not finite; or a picture it names is missing from `images`.
    """
    path, folder = Path(annotations), Path(images)
    content = _read_json(path)
    try:
        category = next(c for c in content["categories"] if "keypoints" in c)
        names = tuple(map(str, category["keypoints"]))
        keypoint_set = _known_set(path, names)
        pictures = tuple(
            Picture(int(i["id"]), folder / i["file_name"], int(i["width"]), int(i["height"]))
            for i in content["images"]
        )
        listed = [a for a in content["annotations"] if a["category_id"] == category["id"]]
        for annotation in listed:
            _check_numbers(path, annotation, len(names))
        labelled = [a for a in listed if _is_labelled(a)]
        people = [a for a in labelled if min(a["bbox"][2:]) > 0]
        others = [a for a in listed if not _is_labelled(a)]
    except StopIteration:
        raise DatasetError(f"{path}: no category has `keypoints`; is this a box file?") from None
    except DatasetError:
        raise
    except KeyError as error:
        raise DatasetError(
            f"{path}: not a COCO-style keypoint file: the field {error} is missing"
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path}: not a COCO-style keypoint file ({error})") from error

    if not people:
        raise DatasetError(
            f"{path}: no person has a labelled joint: the third number of a joint must be 1 or 2 "
            "where it is labelled, and crowds and boxes without area do not count"
        )
    index = {picture.id: i for i, picture in enumerate(pictures)}
    unknown = [a["image_id"] for a in people if a["image_id"] not in index]
    if unknown:
        raise DatasetError(f"{path}: annotations name image {unknown[0]}, which is not listed")
    used = {index[a["image_id"]] for a in people}
    missing = [pictures[i].path for i in sorted(used) if not pictures[i].path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} pictures that {path} names are missing, {missing[0]} for one: "
            "is the picture folder right?"
        )
    others = [a for a in others if a["image_id"] in index]
    return PoseDataset(
        keypoint_set=keypoint_set,
        pictures=pictures,
        picture_index=_pictures_of(people, index),
        boxes=_boxes(people),
        keypoints=np.stack([np.asarray(a["keypoints"], np.float32).reshape(-1, 3) for a in people]),
        areas=_areas(people),
        ids=np.array([a["id"] for a in people], np.int64),
        ignored=Ignored(
            picture_index=_pictures_of(others, index),
            boxes=_boxes(others),
            areas=_areas(others),
            crowds=np.array([bool(a.get("iscrowd", 0)) for a in others], bool),
        ),
    )


def _is_labelled(annotation: Annotation) -> bool:
    """Whether it is of one person, who has a labelled joint."""
    return not annotation.get("iscrowd", 0) and any(v > 0 for v in annotation["keypoints"][2::3])


def _pictures_of(annotations: Sequence[Annotation], index: dict[int, int]) -> NDArray[np.intp]:
    return np.array([index[a["image_id"]] for a in annotations], np.intp)


def _boxes(annotations: Sequence[Annotation]) -> NDArray[np.float64]:
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _areas(annotations: Sequence[Annotation]) -> NDArray[np.float64]:
    areas = [a.get("area", a["bbox"][2] * a["bbox"][3]) for a in annotations]
    return np.array(areas, np.float64)


def _check_numbers(path: Path, annotation: Annotation, joints: int) -> None:
    numbers = {"bbox": annotation["bbox"], "area": [annotation.get("area", 0)]}
    if not annotation.get("iscrowd", 0):
        numbers["keypoints"] = annotation["keypoints"]
    for name, values in numbers.items():
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise DatasetError(
                f"{path}: annotation {annotation['id']} has something in `{name}` that is no "
                "finite number; write 0 for what is not labelled, or leave the annotation out"
            )
    if len(numbers["bbox"]) != 4:
        raise DatasetError(
            f"{path}: annotation {annotation['id']} has {len(numbers['bbox'])} numbers in `bbox`; "
            "x, y, width and height are expected"
        )
    found = len(numbers.get("keypoints", [0] * 3 * joints))
    if found != 3 * joints:
        raise DatasetError(
            f"{path}: annotation {annotation['id']} has {found} numbers in `keypoints`; the "
            f"{joints} joints of its category need {3 * joints}: x, y and visibility of each"
        )


def _known_set(path: Path, names: tuple[str, ...]) -> KeypointSet:
    """The set with these joints in this order; the error says which set was nearly meant."""
    found = keypoint_set_of(names)
    if found is not None:
        return found
    for known in KEYPOINT_SETS.values():
        if sorted(known.joints) == sorted(names):
            raise DatasetError(
                f"{path}: `categories.keypoints` has the joints of {known.name} in another order; "
                f"reorder them and every annotation's `keypoints` to {', '.join(known.joints)}"
            )
    raise DatasetError(
        f"{path}: the {len(names)} joints in `categories.keypoints` are no known keypoint set "
        f"({', '.join(KEYPOINT_SETS)}): {', '.join(names)}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such annotation file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: not a COCO-style keypoint file (a JSON object is expected)")
    return content
