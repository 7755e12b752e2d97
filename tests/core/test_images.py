from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from farpose.images import (
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    decode_image,
    read_header,
)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    x = np.linspace(0, 255, size[0], dtype=np.uint8)
    return Image.fromarray(np.broadcast_to(x, size[::-1]).copy()).convert(mode)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (encoded(gradient(), "JPEG"), "image/jpeg"),
        (encoded(gradient(), "PNG"), "image/png"),
        (encoded(gradient(), "WEBP", lossless=True), "image/webp"),
        (encoded(gradient("L"), "JPEG"), "image/jpeg"),  # grey
        (encoded(gradient("L"), "PNG"), "image/png"),
        (encoded(gradient("CMYK"), "JPEG"), "image/jpeg"),  # print colours
        (encoded(gradient("RGBA"), "PNG"), "image/png"),  # transparency is dropped
        (encoded(gradient("P"), "PNG"), "image/png"),  # palette
        (encoded(Image.fromarray(np.asarray(gradient("L")).astype(np.uint16) * 257), "PNG"),
         "image/png"),  # 16 bits
    ],
)  # fmt: skip
def test_pictures_of_every_kind_become_rgb(data: bytes, media_type: str):
    assert read_header(data) == (media_type, 48, 32)
    image = decode_image(data)
    assert image.shape == (32, 48, 3)
    assert image.dtype == np.uint8
    assert image[16, 0].max() < 20
    assert image[16, -1].min() > 235


def test_channels_are_red_green_blue():
    red = Image.new("RGB", (8, 8), (250, 10, 20))
    assert decode_image(encoded(red, "PNG"))[0, 0].tolist() == [250, 10, 20]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind: str):
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed a quarter turn clockwise
    image = decode_image(encoded(gradient(), kind, exif=exif))
    assert image.shape == (48, 32, 3)
    assert image[0].mean() < 20  # what was left is on top


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode_image(data)[8, 8].tolist() == [255, 0, 0]


JPEG = encoded(gradient(size=(320, 240)), "JPEG")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", ImageError, "empty"),
        (b"hello", ImageError, "known format"),
        (encoded(gradient(), "GIF"), ImageFormatError, "GIF picture is not supported"),
        (encoded(gradient(), "BMP"), ImageFormatError, "BMP"),
        (JPEG[: len(JPEG) // 2], ImageError, "damaged or cut off"),
        (JPEG[:-20], ImageError, "damaged or cut off"),
        (encoded(gradient(), "PNG")[:-30], ImageError, "damaged or cut off"),
        (JPEG[:30], ImageError, "header|known format|damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(
    data: bytes, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        decode_image(data)


def test_size_is_checked_before_decoding():
    data = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(ImageTooLargeError):
        decode_image(data)
    with pytest.raises(ImageTooLargeError, match="320x240"):
        decode_image(JPEG, max_pixels=1000)
