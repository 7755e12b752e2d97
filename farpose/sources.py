"""Where frames come from: picture files, video files, and folders of both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.images import ImageError, decode_image, read_header

PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEO_SUFFIXES: Final = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


class SourceError(ValueError):
    """A source cannot be read; the message names it."""


@dataclass(frozen=True)
class Frame:
    """One picture, or one frame of a video."""

    source: Path
    image: NDArray[np.uint8]
    """`[H,W,3]` RGB as displayed."""

    index: int | None = None
    """Number of the frame in its video from 0; None for a picture."""

    rate: float | None = None
    """Frames per second of the video; None for a picture, or where the file does not say."""


def files_of(source: Path) -> list[Path]:
    """The files a source stands for: itself, or a folder's pictures and videos by name.

    Raises:
        SourceError: there is no such file or folder, or nothing to read in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise SourceError(f"{source}: no such file or folder")
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    files = [p for p in sorted(source.iterdir()) if p.suffix.lower() in known and p.is_file()]
    if not files:
        raise SourceError(f"{source}: the folder holds no picture and no video")
    return files


def is_video(path: Path) -> bool:
    """Whether a file is read as a video, by its name, or by its content if that says nothing."""
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES or suffix in VIDEO_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    try:
        read_header(path.read_bytes())
    except ImageError:
        return True
    return False


def read_frames(path: Path) -> Iterator[Frame]:
    """The one frame of a picture, or all of a video in order.

    Raises:
        SourceError: it is not readable.
        OSError: it cannot be opened.
    """
    if is_video(path):
        yield from _video_frames(path)
        return
    try:
        yield Frame(path, decode_image(path.read_bytes()))
    except ImageError as error:
        raise SourceError(f"{path}: {error}") from error


def _video_frames(path: Path) -> Iterator[Frame]:
    # What FFmpeg has to say about a broken file is said here in one line instead.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # Other readers would take a digit in a name for a numbered series of pictures.
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        rate = video.get(cv2.CAP_PROP_FPS)
        index = 0
        while True:
            there, image = video.read()
            if not there:
                break
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(path, rgb, index, rate if rate > 0 else None)
            index += 1
    finally:
        video.release()
    if not index:
        raise SourceError(f"{path}: neither a picture (JPEG, PNG, WebP) nor a readable video")
