"""What can be wrong before a model has run: the report's folder, and labels of other pictures."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from farpose.evaluation.dataset import DatasetError, PoseDataset

_TURNED = frozenset({5, 6, 7, 8})
_ORIENTATION = 0x0112


class ReportFolderError(ValueError):
    """The report cannot be written there; the message says why."""


def make_folder(path: Path) -> None:
    """Make the folder of a report.

    Raises:
        ReportFolderError: it is a file, is not empty, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        entries = sum(1 for _ in path.iterdir())
        # Better now than after an hour.
        tempfile.TemporaryFile(dir=path).close()
    except FileExistsError:
        raise ReportFolderError(f"{path}: is a file; a report needs a folder of its own") from None
    except OSError as error:
        raise ReportFolderError(f"{path}: {error.strerror}") from error
    if entries:
        raise ReportFolderError(
            f"{path}: the folder is not empty ({entries} entries); name another one, so that "
            "nothing is overwritten"
        )


def check_labels(dataset: PoseDataset) -> None:
    """Refuse labels that were made on other pictures, or on pictures of another size.

    Raises:
        DatasetError: a picture that people are labelled in cannot be read or is not of the size
            that the annotations say, or a box lies outside of it or is not finite.
    """
    for index in np.unique(dataset.picture_index):
        picture = dataset.pictures[index]
        size = _size(picture.path)
        if size != (picture.width, picture.height):
            raise DatasetError(
                f"{picture.path}: is {size[0]}x{size[1]}, but the annotations say "
                f"{picture.width}x{picture.height}: were they made on other pictures, or on ones "
                "of another size?"
            )
    sizes = np.array([(p.width, p.height) for p in dataset.pictures])[dataset.picture_index]
    boxes = dataset.boxes
    bad = ~np.isfinite(boxes).all(axis=1) | ~np.isfinite(dataset.keypoints).all(axis=(1, 2))
    bad |= (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= sizes).any(axis=1)
    if bad.any():
        person = int(bad.argmax())
        picture = dataset.pictures[dataset.picture_index[person]]
        raise DatasetError(
            f"{int(bad.sum())} people lie outside of their picture or have numbers that are not "
            f"finite, annotation {dataset.ids[person]} in {picture.path.name} "
            f"({picture.width}x{picture.height}) for one: its box is "
            f"{', '.join(f'{edge:g}' for edge in boxes[person])}"
        )


def some_pictures(
    dataset: PoseDataset, limit: int, seed: int
) -> tuple[PoseDataset, NDArray[np.intp]]:
    """A sample of the pictures that people are labelled in, in their old order, and their indices.

    Args:
        dataset: of which a part is wanted.
        limit: at most so many pictures.
        seed: the same sample again.
    """
    used = np.unique(dataset.picture_index)
    if len(used) <= limit:
        return dataset, np.arange(len(dataset.pictures))
    kept = np.sort(np.random.default_rng(seed).choice(used, limit, replace=False))
    chosen = dataset.select(np.isin(dataset.picture_index, kept))
    sample = replace(
        chosen,
        pictures=tuple(dataset.pictures[i] for i in kept),
        picture_index=np.searchsorted(kept, chosen.picture_index),
        ignored=dataset.ignored.in_pictures(kept),
    )
    return sample, kept


def _size(path: Path) -> tuple[int, int]:
    """Width and height as the picture is displayed, without decoding it."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable picture ({error})") from error
    return (height, width) if turned else (width, height)
