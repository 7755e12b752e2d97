"""Encoded pictures to RGB arrays, with every limit checked before the pixels are decoded."""

from __future__ import annotations

import io
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""Picture formats that are read, with their media types."""

MAX_PIXELS: Final = 50_000_000
"""Default limit on width x height; a decoded picture takes three bytes per pixel."""


class ImageError(ValueError):
    """The bytes are not a picture that can be read."""


class ImageFormatError(ImageError):
    """The bytes are a picture of a format that is not supported."""


class ImageTooLargeError(ImageError):
    """The picture has more pixels than allowed."""


class Header(NamedTuple):
    """What the first bytes of a picture say."""

    media_type: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Format and stored size (before EXIF orientation), without decoding.

    Raises:
        ImageError: no picture.
        ImageFormatError: not JPEG, PNG or WebP.
    """
    if not data:
        raise ImageError("the picture is empty: 0 bytes")
    try:
        with Image.open(io.BytesIO(data)) as image:
            found, (width, height) = image.format or "", image.size
        # Phones write JPEG files with a second picture behind the first; decoders read the first.
        found = "JPEG" if found == "MPO" else found
    except UnidentifiedImageError:
        raise ImageError("the bytes are not a picture of a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLargeError("the picture has far more pixels than are allowed") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"the picture's header cannot be read: {error}") from None
    if found not in FORMATS:
        raise ImageFormatError(f"a {found} picture is not supported: send JPEG, PNG or WebP")
    return Header(FORMATS[found], width, height)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP picture.

    EXIF orientation is applied, grey and 16-bit pictures are converted, transparency is dropped,
    and of an animation the first frame is taken.

    Args:
        data: the encoded picture.
        max_pixels: larger pictures are refused before they are decoded.

    Returns:
        `[H,W,3]` UINT8 RGB.

    Raises:
        ImageError: it cannot be decoded, or `ImageFormatError`, `ImageTooLargeError`.
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise ImageTooLargeError(
            f"the picture is {header.width}x{header.height}: more than {max_pixels} pixels"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"the picture cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError("the picture cannot be decoded: it is damaged or cut off")
    return np.asarray(image, np.uint8)
