"""Which pictures are kept away from training, so that they can tell whether it helped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

import numpy as np

BLOCKS: Final = 20
"""Pictures in the order of their names are cut into this many blocks. A block is kept or held out
as a whole: the frames of a video look like their neighbours, so single ones would test nothing."""


def held_out(names: Iterable[str], share: float) -> frozenset[str]:
    """The names to hold out, the same for the same names in any order.

    Args:
        names: of pictures; numbers in them are ordered as numbers.
        share: 0..1 of the pictures; at least one block is held out and one is not.

    Raises:
        ValueError: there are fewer than two names, or the share is not between 0 and 1.
    """
    ordered = sorted(set(names), key=_natural)
    if len(ordered) < 2 or not 0 < share < 1:
        raise ValueError(f"a share of {share} cannot be held out of {len(ordered)} pictures")
    count = min(BLOCKS, len(ordered))
    blocks = [block.tolist() for block in np.array_split(np.array(ordered), count)]
    chosen = sorted(blocks, key=lambda block: hashlib.sha256(block[0].encode()).digest())
    return frozenset(
        name for block in chosen[: min(max(round(share * count), 1), count - 1)] for name in block
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """`frame_10` after `frame_9`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
