"""Pictures as a detector sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.images import ImageError, decode_image
from farpose.letterbox import letterbox
from farpose_export.detector.network import DetectorError

SIZES: Final = (320, 640)
"""Longer sides, in pixels, that every picture is looked at with."""

CALIBRATION_PICTURES: Final = 48
"""That INT8 is fitted to, each at every size; with more, ranges only become wider."""

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")


def read_pictures(source: Path, most: int | None = None) -> list[NDArray[np.uint8]]:
    """A picture, or those of a folder, letterboxed at each of `SIZES`.

    Args:
        source: a file or a folder.
        most: take only so many of them, the same every time.

    Returns:
        `[H,W,3]` UINT8 RGB.

    Raises:
        DetectorError: there are none, or one cannot be read.
    """
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DetectorError(f"{source}: has no pictures ({', '.join(SUFFIXES)})")
    if most is not None:
        chosen = np.random.default_rng(0).permutation(len(paths))[:most]
        paths = [paths[index] for index in np.sort(chosen)]
    found = []
    for path in paths:
        try:
            frame = decode_image(path.read_bytes())
        except ImageError as error:
            raise DetectorError(f"{path}: {error}") from error
        found += [letterbox(frame, size).image for size in SIZES]
    return found
