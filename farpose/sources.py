"""Where frames come from: picture files, video files, and folders of both."""

from __future__ import annotations

import glob
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

MISSING_SHARE: Final = 0.05
"""A video that lacks more of its length than this, and more than a second, is cut off."""


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

    time: float | None = None
    """Seconds from the beginning of the video at which the frame is shown, as the file says, so
    that frames of a variable rate have their real times; None for a picture."""

    frames: int | None = None
    """Of the video, as the file says before they are read, which may be an estimate."""


def files_of(source: Path) -> list[Path]:
    """The files a source stands for: itself, or a folder's pictures and videos by name, or those
    that match a pattern such as `archive/**/*.mp4`, where `**` is folders at any depth.

    Raises:
        SourceError: there is no such file or folder, or nothing to read in it.
    """
    if source.is_file():
        return [source]
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    if not source.is_dir():
        if not glob.has_magic(str(source)):
            raise SourceError(f"{source}: no such file or folder")
        # Path.glob takes no absolute pattern.
        matches = map(Path, sorted(glob.glob(str(source), recursive=True)))  # noqa: PTH207
        files = [p for p in matches if p.suffix.lower() in known and p.is_file()]
        if not files:
            raise SourceError(f"{source}: no picture and no video matches")
        return files
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


def read_frames(path: Path, first: int = 0) -> Iterator[Frame]:
    """The one frame of a picture, or those of a video in order.

    Args:
        path: the file.
        first: of the frames, from 0; those before are decoded and left out.

    Raises:
        SourceError: it is not readable, or, after its last frame, that it ends too early.
        OSError: it cannot be opened.
    """
    if is_video(path):
        yield from _video_frames(path, first)
        return
    try:
        picture = Frame(path, decode_image(path.read_bytes()))
    except ImageError as error:
        raise SourceError(f"{path}: {error}") from error
    if not first:
        yield picture


def _video_frames(path: Path, first: int) -> Iterator[Frame]:
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
        frames = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        index, time = 0, 0.0
        # Seeking may land on another frame than the one that is counted.
        while index < first and video.grab():
            index, time = index + 1, video.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        while True:
            there, image = video.read()
            if not there:
                break
            time = video.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(path, rgb, index, rate if rate > 0 else None, time, frames or None)
            index += 1
    finally:
        video.release()
    if not index:
        raise SourceError(f"{path}: {_why_no_frames(path)}")
    # The number of frames is an estimate in some containers, so the time must be short too.
    length = frames / rate if rate > 0 else 0.0
    if index < (1 - MISSING_SHARE) * frames and length - time > max(1.0, MISSING_SHARE * length):
        raise SourceError(
            f"{path}: ends after {time:.1f} of {length:.1f} s: it is cut off or damaged there"
        )


def _why_no_frames(path: Path) -> str:
    """What is wrong with a file that gives no frame."""
    if not path.stat().st_size:
        return "the file is empty"
    try:
        import av
        import av.logging

        av.logging.set_libav_level(av.logging.PANIC)
        with av.open(str(path)) as container:
            if container.streams.audio and not container.streams.video:
                return "there is sound in it and no video"
    except (ImportError, OSError, ValueError):  # the package is an extra; no container is a reason
        pass
    return "neither a picture (JPEG, PNG, WebP) nor a readable video"
