"""What a caller of `farpose.Pose` may give as a picture, made into what the pipeline takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from farpose.images import ImageError
from farpose.sources import VIDEO_SUFFIXES, SourceError

GivenPicture: TypeAlias = str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image.Image
"""A path, an encoded picture, an array `[H,W,3]` UINT8, or a Pillow image."""


class Picture(NamedTuple):
    """A picture as the pipeline takes it."""

    content: bytes | NDArray[np.uint8]
    """Encoded, or `[H,W,3]` RGB."""

    source: str | None
    """The file, if it was one."""


def read_picture(given: Any, *, bgr: bool = False) -> Picture:
    """The content of a picture, not decoded yet if it is a file.

    Args:
        given: a `GivenPicture`.
        bgr: an array has its channels in the order of OpenCV; not for anything else.

    Raises:
        SourceError: there is no such file, it cannot be opened, or it is a video.
        ImageError: an array or an image is none that people can be found in.
        TypeError: it is something else.
    """
    if isinstance(given, np.ndarray):
        return Picture(_checked(given, bgr=bgr), None)
    if bgr:
        raise TypeError("bgr=True is about arrays; files and Pillow images say what they are")
    if isinstance(given, Image.Image):
        return Picture(_from_pillow(given), _file_of(given))
    if isinstance(given, bytes | bytearray | memoryview):
        return Picture(bytes(given), None)
    if isinstance(given, str | os.PathLike):
        return Picture(_read(Path(given)), os.fspath(given))
    raise TypeError(
        f"a picture is a path, bytes, a NumPy array or a Pillow image, not {type(given).__name__}"
    )


def is_video_file(given: Any) -> bool:
    """Whether it is a path with the name of a video."""
    return isinstance(given, str | os.PathLike) and Path(given).suffix.lower() in VIDEO_SUFFIXES


def _read(path: Path) -> bytes:
    if is_video_file(path):
        raise SourceError(f"{path}: it is a video: use pose.video()")
    if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
        raise SourceError(f"{path}: it is an address: fetch it and give its bytes")
    if path.is_dir():
        raise SourceError(f"{path}: it is a folder: give a list of its pictures")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise SourceError(f"{path}: cannot be read: {error}") from error


def _checked(array: NDArray[Any], *, bgr: bool) -> NDArray[np.uint8]:
    """An array as `[H,W,3]` UINT8 RGB that is contiguous."""
    found = f"the array is {array.dtype} {list(array.shape)}, not uint8 [height, width, 3]"
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"{found}{_advice(array)}")
    if array.dtype != np.uint8:
        scale = " (times 255 if it goes from 0 to 1)" if array.dtype.kind == "f" else ""
        raise ImageError(f"{found}: convert it with .astype(np.uint8){scale}")
    if not array.size:
        raise ImageError(f"{found}: it has no pixels")
    return np.ascontiguousarray(array[:, :, ::-1] if bgr else array)


def _advice(array: NDArray[Any]) -> str:
    shape = array.shape
    if array.ndim == 2:
        return ": a grey picture is np.stack([image] * 3, axis=-1)"
    if array.ndim == 3 and shape[2] == 4:
        return ": leave transparency out with image[:, :, :3]"
    if array.ndim == 3 and shape[2] == 1:
        return ": a grey picture is np.repeat(image, 3, axis=2)"
    if array.ndim == 3 and shape[0] == 3:
        return ": move the channels with image.transpose(1, 2, 0)"
    if array.ndim == 4 and shape[3] == 3:
        return ": give several pictures as list(images)"
    return ""


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """An image as `[H,W,3]` RGB, EXIF orientation applied, as a file would be decoded."""
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits; Pillow would cut them off at 255
            levels = np.clip(np.asarray(upright), 0, 65_535).astype(np.uint16) >> 8
            return _checked(np.repeat(levels[..., None], 3, axis=2).astype(np.uint8), bgr=False)
        return _checked(np.array(upright.convert("RGB")), bgr=False)
    except (OSError, SyntaxError) as error:
        raise ImageError(f"the Pillow image cannot be decoded: {error}") from error


def _file_of(image: Image.Image) -> str | None:
    name = getattr(image, "filename", "")
    return os.fspath(name) or None if isinstance(name, str | os.PathLike) else None
