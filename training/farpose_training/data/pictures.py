"""Decoded pictures: as many as memory allows are kept, the others are read when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import Picture


class DecodedPictures(Sequence[NDArray[np.uint8]]):
    """Pictures `[H,W,3]` UINT8 RGB by index; safe to use from several threads.

    The first ones that fit into the memory are decoded at once and kept. Their size is estimated
    from the annotated width and height.

    Args:
        pictures: by index.
        used: indices that will be asked for; only these are kept.
        memory: bytes.

    Raises:
        DatasetError: a picture cannot be read; also when it is asked for later.
    """

    needed: int
    """Bytes of memory that keep all that are used."""

    def __init__(self, pictures: Sequence[Picture], used: Sequence[int], memory: float) -> None:
        self._pictures = tuple(pictures)
        sizes = [3 * self._pictures[index].width * self._pictures[index].height for index in used]
        self.needed = sum(sizes)
        kept = [i for i, end in zip(used, accumulate(sizes), strict=True) if end <= memory]
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(lambda index: self._pictures[index].read(), kept)
            self._decoded = dict(zip(kept, decoded, strict=True))

    @property
    def kept(self) -> int:
        """How many are in memory."""
        return len(self._decoded)

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.uint8]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        number = range(len(self))[index]
        found = self._decoded.get(number)
        return self._pictures[number].read() if found is None else found

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))
