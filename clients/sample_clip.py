"""Make a clip out of a picture, to try a camera where there is none: the picture crosses the view.

    python clients/sample_clip.py street.jpg street.mp4

Needs OpenCV and NumPy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 480
FRAMES_PER_SECOND = 10
GREY = 114


class ClipError(RuntimeError):
    """The clip cannot be made; the message says why."""


def frame(picture: NDArray[np.uint8], progress: float) -> NDArray[np.uint8]:
    """`[480,640,3]` BGR: the picture on grey, at the left for progress 0 and at the right for 1."""
    scale = min(HEIGHT / picture.shape[0], 0.8 * WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    left = round(progress * (WIDTH - width))
    view = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    view[:height, left : left + width] = small
    return view


def write_clip(source: Path, target: Path, frames: int) -> None:
    """Write the clip.

    Raises:
        ClipError: the picture cannot be read, or the clip not be written.
    """
    picture = cv2.imread(str(source))
    if picture is None:
        raise ClipError(f"{source}: not a picture that OpenCV can read")
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(target), code, FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise ClipError(f"{target}: cannot be written; give a name that ends in .mp4")
    for number in range(frames):
        writer.write(frame(np.asarray(picture, np.uint8), number / max(frames - 1, 1)))
    writer.release()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    arguments = parser.parse_args()
    try:
        write_clip(arguments.picture, arguments.clip, arguments.frames)
    except ClipError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
