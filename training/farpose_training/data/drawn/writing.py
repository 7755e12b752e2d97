"""A folder of drawn people with COCO-style annotations, the same for the same settings."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from tqdm import tqdm

from farpose.evaluation.dataset import DatasetError
from farpose.keypoints import COCO17
from farpose_training.config.data import DRAWN_ANNOTATIONS, DRAWN_HEIGHTS, LEAST_DRAWN_HEIGHT
from farpose_training.data.drawn.picture import DrawnPerson, draw_person

VERSION: Final = 1
"""Counts up when the same settings draw something else."""

PNG: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)
"""Fast; stronger compression saves a tenth."""


def write_procedural(
    folder: Path, people: int, seed: int, heights: tuple[float, float] = DRAWN_HEIGHTS
) -> Path:
    """Draw people into a folder, a picture each, unless it holds just these already.

    The folder appears when all is written; a killed writer leaves none. Equal settings make equal
    files, byte by byte, under one version of OpenCV.

    Args:
        folder: what to make.
        people: how many.
        seed: of all that is drawn.
        heights: least and largest height of a person, drawn log-uniformly between them, pixels.

    Returns:
        The annotations, COCO-style with all 17 joints: visibility 2, or 1 where they are hidden.

    Raises:
        ValueError: the settings make no sense.
        DatasetError: the folder holds something else, or cannot be written.
    """
    if people < 1:
        raise ValueError(f"people: {people} is not at least 1")
    if not LEAST_DRAWN_HEIGHT <= heights[0] <= heights[1]:
        raise ValueError(
            f"heights: {list(heights)} is not a range of {LEAST_DRAWN_HEIGHT:g} pixels or more"
        )
    settings = {
        "people": people,
        "seed": seed,
        "heights": [float(height) for height in heights],
        "version": VERSION,
    }
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if folder.exists():
                _refuse_other(folder, settings)
            else:
                _write(folder, settings)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder / DRAWN_ANNOTATIONS


def _write(folder: Path, settings: dict[str, Any]) -> None:
    people, (low, high) = settings["people"], settings["heights"]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        partial = Path(name) / "set"
        partial.mkdir()
        for index in tqdm(range(people), desc=f"drawing {folder}", unit=" people", disable=None):
            rng = np.random.default_rng((settings["seed"], index))
            height = math.exp(rng.uniform(math.log(low), math.log(high)))
            drawn = draw_person(height, rng)
            file = f"{index:06d}.png"
            if not cv2.imwrite(str(partial / file), drawn.picture[..., ::-1], PNG):
                raise DatasetError(f"{partial / file}: cannot be written; is the disk full?")
            tall, width = drawn.picture.shape[:2]
            images.append({"id": index, "file_name": file, "width": width, "height": tall})
            annotations.append(_annotation(index, drawn))
        category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints)}
        content = {
            "info": {"drawn": settings},
            "images": images,
            "annotations": annotations,
            "categories": [category],
        }
        (partial / DRAWN_ANNOTATIONS).write_text(json.dumps(content) + "\n")
        partial.replace(folder)


def _annotation(index: int, drawn: DrawnPerson) -> dict[str, Any]:
    x1, y1, x2, y2 = drawn.box.tolist()
    keypoints = [[round(x, 3), round(y, 3), int(seen)] for x, y, seen in drawn.keypoints.tolist()]
    return {
        "id": index,
        "image_id": index,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": drawn.area,
        "num_keypoints": len(keypoints),
        "keypoints": [number for joint in keypoints for number in joint],
    }


def _refuse_other(folder: Path, wanted: dict[str, Any]) -> None:
    try:
        stored = json.loads((folder / DRAWN_ANNOTATIONS).read_text())["info"]["drawn"]
        differing = [name for name, value in wanted.items() if stored[name] != value]
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(
            f"{folder}: holds no drawn people; name a folder that does not exist yet"
        ) from None
    if differing:
        changes = ", ".join(
            f"{name} {json.dumps(stored[name])} instead of {json.dumps(wanted[name])}"
            for name in differing
        )
        raise DatasetError(
            f"{folder}: was drawn with {changes}; name another folder, or delete this one"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process draws; others that want the folder wait."""
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
