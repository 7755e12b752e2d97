"""MPII people as files have them, and the JSON layout that HRNet's and SimCC's authors share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError
from farpose.keypoints import MPII16


class LabelledPerson(NamedTuple):
    """One person as MPII files have it; positions count from 1."""

    image: str
    """File name in the picture folder."""

    center: tuple[float, float]
    scale: float
    """Height in units of 200 pixels."""

    joints: NDArray[np.float64]
    """`[16,3]` x, y and visibility, 0 where there is no label."""

    head_size: float
    """Pixels; nan where it is not known."""


def read_people(path: Path) -> list[LabelledPerson]:
    """The people of a `train.json` or `valid.json`; their head sizes are not in it.

    Raises:
        DatasetError: the file is missing or malformed.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such annotation file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, list):
        raise DatasetError(f"{path}: not MPII's JSON layout: a list of people is expected")
    return [_person(path, i, entry) for i, entry in enumerate(content)]


def _person(path: Path, number: int, entry: Any) -> LabelledPerson:
    try:
        joints = np.asarray(entry["joints"], np.float64)
        visible = np.asarray(entry["joints_vis"], np.float64)
        x, y = entry["center"]
        person = str(entry["image"]), (float(x), float(y)), float(entry["scale"])
    except KeyError as error:
        raise DatasetError(
            f"{path}: person {number} has no {error}; MPII's JSON layout has image, center, "
            "scale, joints and joints_vis"
        ) from error
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: person {number} is malformed ({error})") from error
    if joints.shape != (len(MPII16), 2) or visible.shape != (len(MPII16),):
        raise DatasetError(
            f"{path}: person {number} has `joints` of shape {joints.shape} and `joints_vis` of "
            f"shape {visible.shape}, expected ({len(MPII16)}, 2) and ({len(MPII16)},)"
        )
    labels = np.where(visible > 0, 2.0, 0.0)
    return LabelledPerson(*person, np.column_stack([joints, labels]), np.nan)
