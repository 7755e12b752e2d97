"""Pictures as callers have them, to what is sent; and decoded, to be drawn on.

Pillow and NumPy are imported only where the caller hands over something of theirs.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from farpose_client.errors import BadImageError, UnreadableFileError
from farpose_client.optional import optional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Picture: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8] | Image"
)
"""A path, the bytes of a JPEG, PNG or WebP file, a NumPy array `[H,W,3]` or `[H,W]` uint8, or a PIL
image."""

Channels = Literal["RGB", "BGR"]
"""Order of a NumPy array's colours. OpenCV's is BGR."""

_MEDIA_TYPES: Final = (
    (b"\x89PNG", "image/png"),
    (b"RIFF", "image/webp"),
)

_PNG_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Modes of PIL images that a PNG file keeps as they are."""


def encoded(picture: Picture, channels: Channels = "RGB", quality: int | None = None) -> bytes:
    """The bytes to send.

    Paths and bytes are sent as they are. Arrays and PIL images are sent as PNG, without loss, or as
    JPEG of a quality.

    Args:
        picture: see `Picture`. Of a PIL image the pixels count, not an EXIF orientation.
        channels: order of an array's colours.
        quality: 1 to 100, of the JPEG that arrays and PIL images are then sent as.

    Raises:
        BadImageError: an array or image that is none of those.
        MissingPackageError: it needs Pillow.
        UnreadableFileError: the file cannot be read.
    """
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    if isinstance(picture, (str, os.PathLike)):
        try:
            return Path(picture).read_bytes()
        except (OSError, ValueError) as error:
            raise UnreadableFileError(f"{os.fspath(picture)}: {error}") from error
    return _compressed(as_image(picture, channels), quality)


def media_type_of(content: bytes) -> str:
    """What an encoded picture is declared as; the service goes by the bytes."""
    return next((type_ for magic, type_ in _MEDIA_TYPES if content.startswith(magic)), "image/jpeg")


def as_image(picture: Picture, channels: Channels = "RGB") -> Image:
    """A picture as a PIL image; files and bytes are decoded, and turned as their EXIF says.

    Raises:
        BadImageError: it cannot be decoded, or is an array of another shape or type.
        MissingPackageError: Pillow is not installed.
        UnreadableFileError: the file cannot be read.
    """
    with optional("NumPy arrays, PIL images and drawing", "Pillow", "pictures"):
        import PIL.Image
    if isinstance(picture, PIL.Image.Image):
        return picture
    if isinstance(picture, (str, os.PathLike, bytes, bytearray, memoryview)):
        return _decoded(encoded(picture))
    return PIL.Image.fromarray(_checked(picture, channels))


def _decoded(content: bytes) -> Image:
    import PIL.Image
    import PIL.ImageOps

    try:
        return PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise BadImageError(f"The picture cannot be decoded: {error}") from error


def _checked(array: Any, channels: Channels) -> NDArray[np.uint8]:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(array, numpy.ndarray):
        raise BadImageError(
            f"A picture is a path, the bytes of a file, a NumPy array or a PIL image, "
            f"not {type(array).__name__}"
        )
    if array.dtype != numpy.uint8:
        raise BadImageError(f"A picture's array has type uint8, not {array.dtype}: 0 is black, "
                            "255 is white")  # fmt: skip
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    coloured = array.ndim == 3 and array.shape[2] == 3
    if not (array.ndim == 2 or coloured) or 0 in array.shape:
        raise BadImageError(f"A picture's array has shape [H,W,3] or [H,W], not {array.shape}")
    if channels not in ("RGB", "BGR"):
        raise BadImageError(f"channels: RGB or BGR, not {channels!r}")
    if coloured and channels == "BGR":
        array = array[:, :, ::-1]
    contiguous: NDArray[np.uint8] = numpy.ascontiguousarray(array)
    return contiguous


def _compressed(image: Image, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    try:
        if quality is not None:
            kept = image if image.mode in ("L", "RGB") else image.convert("RGB")
            kept.save(buffer, "JPEG", quality=quality)
        else:
            kept = image if image.mode in _PNG_MODES else image.convert("RGB")
            # The level costs more time than it saves bytes on a local network.
            kept.save(buffer, "PNG", compress_level=1, exif=b"")
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImageError(f"The image cannot be encoded: {error}") from error
    return buffer.getvalue()
