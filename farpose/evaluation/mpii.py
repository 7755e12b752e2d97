"""MPII Human Pose annotations as a dataset.

`annot/train.json` and `annot/valid.json` are lists of people: `image`, `center`, `scale`, 16
`joints` and `joints_vis`. `annot/gt_valid.mat` has, for the people of `valid.json` in the same
order, what PCKh is computed from: their head boxes and joints.

MPII counts pixels from 1. Everything is read as 0-based indices, so nothing that is computed later
has to add or subtract 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from farpose.evaluation.dataset import DatasetError, Picture, PoseDataset
from farpose.evaluation.mpii_json import LabelledPerson, read_people
from farpose.evaluation.mpii_mat import read_release, with_truth
from farpose.keypoints import MPII16

UNIT: Final = 200.0
"""Pixels that a `scale` of 1 stands for: about the person's height."""

CENTER_SHIFT: Final = 15.0
"""Pixels, times the scale, that the crop's centre lies below `center` (HRNet's convention)."""

AREA_SHARE: Final = 0.25
"""MPII has no areas: a person is given this share of the squared height, so that OKS can be
computed. It is comparable among results on MPII only."""


def load_mpii(annotations: str | Path, images: str | Path) -> PoseDataset:
    """Read MPII people.

    The head sizes come from `gt_NAME.mat` beside `NAME.json`; without that file the dataset has
    none. Its joints then replace those of the JSON file, as PCKh is defined by them. People without
    a labelled joint or a positive scale are left out.

    Args:
        annotations: `train.json` or `valid.json`, or MPII's own `.mat` file, of which all people
            with joints are read.
        images: the folder of the pictures.

    Raises:
        DatasetError: a file is missing, malformed, or has no labelled person.
        ModuleNotFoundError: a `.mat` file is there but SciPy is not installed.
    """
    path = Path(annotations)
    if path.suffix == ".mat":
        people = read_release(path)
    else:
        people = read_people(path)
        truth = path.with_name(f"gt_{path.stem}.mat")
        if truth.is_file():
            people = with_truth(people, truth)
    return mpii_dataset(people, path, Path(images))


def mpii_dataset(people: Sequence[LabelledPerson], path: Path, images: Path) -> PoseDataset:
    """People of an MPII file as a dataset.

    A person's box is the square around (x, y + 15 scale) with sides of 200 scale: the crop, which
    is 1.25 times as large, is that of HRNet's evaluation.

    Args:
        people: as read.
        path: named in errors.
        images: the folder of the pictures.

    Raises:
        DatasetError: a number is not finite, nobody is labelled, or a picture is missing.
    """
    for number, person in enumerate(people):
        _check_numbers(person, f"{path}: person {number} ({person.image})")
    people = [p for p in people if p.scale > 0 and (p.joints[:, 2] > 0).any()]
    if not people:
        raise DatasetError(f"{path}: no person has a labelled joint and a positive `scale`")
    names = sorted({person.image for person in people})
    missing = [name for name in names if not (images / name).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} pictures that {path} names are missing, {images / missing[0]} for "
            "one: is the picture folder right?"
        )
    scales = np.array([person.scale for person in people])
    # Indices count from 0, not 1; a box's edges lie half a pixel further than the index.
    centers = np.array([person.center for person in people]) - 1 + 0.5
    centers[:, 1] += CENTER_SHIFT * scales
    half = UNIT / 2 * scales[:, None]
    keypoints = np.stack([person.joints for person in people])
    keypoints[..., :2] -= 1
    keypoints[keypoints[..., 2] == 0] = 0
    index = {name: i for i, name in enumerate(names)}
    sizes = np.array([person.head_size for person in people])
    return PoseDataset(
        keypoint_set=MPII16,
        pictures=tuple(_picture(i, images / name) for i, name in enumerate(names)),
        picture_index=np.array([index[person.image] for person in people], np.intp),
        boxes=np.concatenate([centers - half, centers + half], axis=1),
        keypoints=keypoints.astype(np.float32),
        areas=AREA_SHARE * (UNIT * scales) ** 2,
        ids=np.arange(len(people), dtype=np.int64),
        head_sizes=sizes if np.isfinite(sizes).any() else None,
    )


def _check_numbers(person: LabelledPerson, who: str) -> None:
    labelled = person.joints[person.joints[:, 2] > 0]
    numbers = {"center": person.center, "scale": person.scale, "joints": labelled}
    for name, values in numbers.items():
        if not np.isfinite(np.asarray(values)).all():
            raise DatasetError(f"{who} has a number in `{name}` that is not finite; correct it")


def _picture(number: int, path: Path) -> Picture:
    """A picture with the size that its header tells."""
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError as error:
        raise DatasetError(f"{path}: not a readable picture") from error
    return Picture(number, path, width, height)
