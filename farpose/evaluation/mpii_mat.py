"""MPII's MATLAB files: the release itself, and the truth that PCKh is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError
from farpose.evaluation.mpii_json import LabelledPerson
from farpose.keypoints import MPII16

HEAD_SHARE: Final = 0.6
"""The head's size is this share of its box's diagonal (MPII's evaluation)."""

TRUTH_FIELDS: Final = ("headboxes_src", "jnt_missing", "pos_gt_src")


@dataclass(frozen=True)
class Truth:
    """What a `gt_NAME.mat` says of the `P` people of `NAME.json`, in their order."""

    head_boxes: NDArray[np.float64]
    """`[2,2,P]` two corners, x and y."""

    missing: NDArray[np.float64]
    """`[16,P]` 1 for joints that do not count."""

    positions: NDArray[np.float64]
    """`[16,2,P]` pixels, counted from 1."""

    @property
    def head_sizes(self) -> NDArray[np.float64]:
        """`[P]` 0.6 of the head boxes' diagonals, pixels."""
        diagonals = np.linalg.norm(self.head_boxes[1] - self.head_boxes[0], axis=0)
        return np.asarray(HEAD_SHARE * diagonals, np.float64)


def with_truth(people: Sequence[LabelledPerson], path: Path) -> list[LabelledPerson]:
    """The people of a JSON file with the head sizes and joints of its `gt_NAME.mat`.

    Raises:
        DatasetError: the file is malformed or of other people.
    """
    truth = _read_truth(path, len(people))
    joints = np.concatenate(
        [truth.positions.transpose(2, 0, 1), np.where(truth.missing.T > 0, 0.0, 2.0)[..., None]],
        axis=-1,
    )
    sizes = truth.head_sizes
    told = np.stack([person.joints for person in people])
    both = (told[..., 2] > 0) & (joints[..., 2] > 0)
    distances = np.linalg.norm(told[..., :2] - joints[..., :2], axis=-1) / sizes[:, None]
    if both.any() and np.median(distances[both]) > 1:
        raise DatasetError(
            f"{path}: most of its joints lie more than a head away from those of the JSON file "
            "beside it: the two are not of the same people"
        )
    return [
        person._replace(joints=joints[i], head_size=float(sizes[i]))
        for i, person in enumerate(people)
    ]


def read_release(path: Path) -> list[LabelledPerson]:
    """All people with joints of `mpii_human_pose_v1_u12_1.mat`.

    The joints of its test pictures were never published, so these are the people of HRNet's
    `train.json` and `valid.json` together.

    Raises:
        DatasetError: the file is missing or not MPII's.
        ModuleNotFoundError: SciPy is not installed.
    """
    content = _loadmat(path, struct_as_record=False, squeeze_me=True)
    try:
        people = [
            _person(picture.image.name, rect)
            for picture in np.atleast_1d(content["RELEASE"].annolist)
            for rect in np.atleast_1d(getattr(picture, "annorect", []))
            if _is_labelled(rect)
        ]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: not MPII's release ({error!r})") from error
    return people


def _is_labelled(rect: Any) -> bool:
    """Whether a person has joints, a position and a scale; what is unknown is empty or absent."""
    fields = (getattr(rect, name, None) for name in ("annopoints", "objpos", "scale"))
    return all(field is not None and np.size(field) > 0 for field in fields)


def _person(image: str, rect: Any) -> LabelledPerson:
    joints = np.zeros((len(MPII16), 3))
    for point in np.atleast_1d(rect.annopoints.point):
        # Joints out of sight have 0; where the flag is empty, nobody said.
        hidden = str(getattr(point, "is_visible", "")) == "0"
        joints[int(point.id)] = float(point.x), float(point.y), 1 if hidden else 2
    head = np.hypot(float(rect.x2) - float(rect.x1), float(rect.y2) - float(rect.y1))
    center = float(rect.objpos.x), float(rect.objpos.y)
    return LabelledPerson(image, center, float(rect.scale), joints, HEAD_SHARE * float(head))


def _read_truth(path: Path, people: int) -> Truth:
    content = _loadmat(path)
    absent = [name for name in TRUTH_FIELDS if name not in content]
    if absent:
        raise DatasetError(f"{path}: has no {', '.join(absent)}; is it MPII's truth for PCKh?")
    boxes, missing, positions = (np.asarray(content[name], np.float64) for name in TRUTH_FIELDS)
    joints = len(MPII16)
    shapes = ((2, 2, people), (joints, people), (joints, 2, people))
    for name, array, shape in zip(TRUTH_FIELDS, (boxes, missing, positions), shapes, strict=True):
        if array.shape != shape:
            raise DatasetError(
                f"{path}: {name} has shape {array.shape}, expected {shape} for the {people} "
                "people of the JSON file beside it"
            )
    return Truth(boxes, missing, positions)


def _loadmat(path: Path, **options: bool) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        with path.open("rb") as file:
            content: dict[str, Any] = loadmat(file, **options)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such annotation file") from None
    except (MatReadError, ValueError, TypeError, NotImplementedError) as error:
        raise DatasetError(f"{path}: not a readable MATLAB file ({error})") from error
    return content
