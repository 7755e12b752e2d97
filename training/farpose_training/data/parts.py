"""Fixed parts of a set of pictures, to hold some out."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from farpose.evaluation.dataset import DatasetError, PoseDataset
from farpose_training.config.data import PartConfig


def part_of(dataset: PoseDataset, part: PartConfig | None) -> PoseDataset:
    """The pictures of a part, with the people in them; all of the dataset if no part is given.

    Raises:
        DatasetError: nobody is in that part.
    """
    if part is None:
        return dataset
    within = [
        zlib.crc32(str(picture.id).encode()) % part.of == part.fold for picture in dataset.pictures
    ]
    kept = np.asarray(within, bool) == (part.keep == "in")
    people = dataset.select(kept[dataset.picture_index])
    if not len(people):
        raise DatasetError(
            f"part {part.fold} of {part.of}: nobody is {part.keep} it; there are "
            f"{len(dataset.pictures)} pictures"
        )
    new_index = np.cumsum(kept) - 1
    return replace(
        people,
        pictures=tuple(p for p, keep in zip(dataset.pictures, kept, strict=True) if keep),
        picture_index=new_index[people.picture_index],
        ignored=dataset.ignored.in_pictures(np.flatnonzero(kept)),
    )
