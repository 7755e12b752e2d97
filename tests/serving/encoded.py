"""Pictures encoded in every way a caller may send them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode(image: NDArray[Any], extension: str) -> bytes:
    done, encoded = cv2.imencode(extension, image)
    assert done
    return encoded.tobytes()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """`[H,W,3]`, dark on the left; nobody in it."""
    row = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2).copy()


def noise_png(side: int) -> bytes:
    """A picture that does not compress: three bytes a pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return encode(pixels, ".png")


def huge_png(side: int) -> bytes:
    """A valid black PNG of side x side pixels with one bit each, a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = zlib.compressobj()
    row = bytes(1 + side // 8)
    pixels = b"".join(rows.compress(row * 100) for _ in range(side // 100)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def huge_jpeg(side: int) -> bytes:
    """A JPEG of a few hundred bytes whose header says side x side pixels."""
    picture = bytearray(encode(gradient(), ".jpg"))
    frame = picture.index(b"\xff\xc0")  # its length, precision, height and width follow
    picture[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(picture)


def huge_webp(side: int) -> bytes:
    """A WebP of a few hundred bytes whose canvas has side x 256 pixels."""
    frame = saved(Image.fromarray(gradient()), "WEBP")[12:]
    canvas = struct.pack("<I", side - 1)[:3] + struct.pack("<I", 255)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([0x10, 0, 0, 0]) + canvas + frame
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended
