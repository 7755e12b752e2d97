"""Boxes that another detector has found, read from COCO's results format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError, PoseDataset

PERSON_CATEGORY: Final = 1
"""COCO's id of people, which such files have whatever the detector."""

MOST_BOXES: Final = 1000
"""Per picture, the surest: more than the precision, which counts 20, can see."""


@dataclass(frozen=True)
class DetectedBoxes:
    """Boxes in the pictures of a dataset."""

    boxes: tuple[NDArray[np.float32], ...]
    """Per picture `[K,4]` x1, y1, x2, y2 in its pixels, the surest first."""

    scores: tuple[NDArray[np.float32], ...]
    """Per picture `[K]`."""

    left_out: int
    """Boxes without area, outside of their picture or beyond `MOST_BOXES`."""

    def __len__(self) -> int:
        return sum(map(len, self.scores))


def load_detections(path: Path, dataset: PoseDataset, threshold: float = 0.0) -> DetectedBoxes:
    """Read the people of a file of `{image_id, category_id, bbox, score}`.

    Args:
        path: the file; `bbox` is x, y, width, height in picture pixels.
        dataset: its pictures' ids are those of the file.
        threshold: boxes that score less are not used.

    Raises:
        DatasetError: the file is missing or malformed, has no person that scores enough, or names a
            picture that the dataset has not.
    """
    entries = _read(path)
    people = [entry for entry in entries if entry["category_id"] == PERSON_CATEGORY]
    if not people:
        found = sorted({str(entry["category_id"]) for entry in entries})
        raise DatasetError(
            f"{path}: no box has `category_id` {PERSON_CATEGORY}, which people must have; "
            f"there are {len(entries)} boxes of {', '.join(found) or 'no category'}"
        )
    index = {picture.id: i for i, picture in enumerate(dataset.pictures)}
    unknown = sorted({str(e["image_id"]) for e in people if e["image_id"] not in index})
    if unknown:
        raise DatasetError(
            f"{path}: {len(unknown)} pictures are not among the {len(index)} that are evaluated, "
            f"`image_id` {unknown[0]} for one; are these detections of other pictures?"
        )
    rows = np.array([[*entry["bbox"], entry["score"]] for entry in people], np.float64)
    pictures = np.array([index[entry["image_id"]] for entry in people])
    sure = rows[:, 4] >= threshold
    if not sure.any():
        best = rows[:, 4].max()
        raise DatasetError(f"{path}: no person scores {threshold:g}; the best scores {best:g}")
    rows, pictures = rows[sure], pictures[sure]
    rows[:, 2:4] += rows[:, :2]
    rows = rows.astype(np.float32)
    sizes = np.array([(p.width, p.height) for p in dataset.pictures])[pictures]
    usable = (rows[:, 2:4] > rows[:, :2]).all(axis=1)
    usable &= (rows[:, 2:4] > 0).all(axis=1) & (rows[:, :2] < sizes).all(axis=1)
    chosen = [
        best[np.argsort(-best[:, 4], kind="stable")][:MOST_BOXES]
        for best in (rows[usable & (pictures == i)] for i in range(len(dataset.pictures)))
    ]
    return DetectedBoxes(
        boxes=tuple(best[:, :4] for best in chosen),
        scores=tuple(best[:, 4] for best in chosen),
        left_out=len(rows) - sum(map(len, chosen)),
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries, each with usable fields."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file of detections") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, list):
        raise DatasetError(
            f"{path}: not COCO's results format: a list of image_id, category_id, bbox and score "
            "is expected, not annotations"
        )
    for number, entry in enumerate(content):
        try:
            entry["image_id"], entry["category_id"]
            row = np.array([*entry["bbox"], entry["score"]], np.float64)
        except KeyError as error:
            raise DatasetError(
                f"{path}: detection {number} has no {error}; each must have image_id, "
                "category_id, bbox and score"
            ) from error
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{path}: detection {number} is malformed ({error})") from error
        if row.shape != (5,) or not np.isfinite(row).all():
            raise DatasetError(
                f"{path}: detection {number} needs a `bbox` of x, y, width, height and a `score`, "
                f"all finite, not {entry['bbox']} and {entry['score']}"
            )
    return content
