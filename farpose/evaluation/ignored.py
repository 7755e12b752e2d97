"""Where COCO's precision wants nobody found, and takes nobody for false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ignored:
    """`Q` crowds and people without a labelled joint in the pictures of a dataset."""

    picture_index: NDArray[np.intp]
    """`[Q]` which picture of the dataset."""

    boxes: NDArray[np.float64]
    """`[Q,4]` x1, y1, x2, y2 in picture pixels, continuous edges."""

    areas: NDArray[np.float64]
    """`[Q]` pixels squared, for OKS."""

    crowds: NDArray[np.bool_]
    """`[Q]` whether any number of predictions may be on it."""

    def __len__(self) -> int:
        return len(self.areas)

    @classmethod
    def empty(cls) -> Self:
        """None at all."""
        return cls(np.zeros(0, np.intp), np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool))

    def in_pictures(self, chosen: NDArray[np.integer]) -> Ignored:
        """Those in some pictures, which are counted anew.

        Args:
            chosen: indices of the pictures in their new order; one may be there several times.
        """
        rows, picture_index = rows_in_pictures(self.picture_index, chosen)
        return Ignored(picture_index, self.boxes[rows], self.areas[rows], self.crowds[rows])


def rows_in_pictures(
    picture_index: NDArray[np.intp], chosen: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """What is in some pictures, picture by picture.

    Args:
        picture_index: `[P]` the picture of each row.
        chosen: indices of pictures, each as often as it is wanted.

    Returns:
        The rows, and for each its picture's place in `chosen`.
    """
    order = np.argsort(picture_index, kind="stable")
    starts = np.searchsorted(picture_index[order], chosen, "left")
    ends = np.searchsorted(picture_index[order], chosen, "right")
    members = [order[start:end] for start, end in zip(starts, ends, strict=True)]
    places = np.repeat(np.arange(len(chosen)), ends - starts)
    return np.concatenate([np.zeros(0, np.intp), *members]), places
