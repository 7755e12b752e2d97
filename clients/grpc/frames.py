"""Encoded pictures of a camera: the files of a folder, or the frames of a video, over and over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class SourceError(RuntimeError):
    """A source has nothing to read; the message says why."""


def frames_of(source: Path) -> Iterator[bytes]:
    """Encoded pictures without end.

    Files are sent as they are. Frames of a video are encoded as JPEG, which wants OpenCV.

    Raises:
        SourceError: there is no such source, or nothing that can be read in it.
    """
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURES)
        if not files:
            raise SourceError(f"{source}: no pictures ({', '.join(PICTURES)}) in this folder")
        return (path.read_bytes() for path in itertools.cycle(files))
    if not source.is_file():
        raise SourceError(f"{source}: no such file or folder")
    if source.suffix.lower() in PICTURES:
        return itertools.repeat(source.read_bytes())
    return _video(source)


def _video(source: Path) -> Iterator[bytes]:
    try:
        import cv2
    except ImportError as error:
        raise SourceError(f"{source}: videos want opencv-python-headless") from error
    while True:
        video = cv2.VideoCapture(str(source))
        there, image = video.read()
        if not there:
            raise SourceError(f"{source}: OpenCV reads no frame of it")
        while there:
            yield cv2.imencode(".jpg", image)[1].tobytes()
            there, image = video.read()
        video.release()
