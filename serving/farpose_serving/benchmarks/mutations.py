"""Pictures that are broken in the ways that pictures break, and in ways that only attackers do."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final

from PIL import Image

Mutation = Callable[[bytes, random.Random], bytes]


def encodings(picture: bytes) -> list[bytes]:
    """The same picture in the formats and variants that are served, and some that are not."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((320, 320))

    def saved(shown: Image.Image, kind: str, **options: object) -> bytes:
        target = io.BytesIO()
        shown.save(target, kind, **options)
        return target.getvalue()

    other = image.rotate(180)
    return [
        saved(image, "JPEG", quality=85),
        saved(image, "JPEG", progressive=True),
        saved(image.convert("L"), "JPEG"),
        saved(image.convert("CMYK"), "JPEG"),
        saved(image, "PNG"),
        saved(image.convert("RGBA"), "PNG"),
        saved(image.convert("P"), "PNG"),
        saved(image.convert("L").convert("I;16"), "PNG"),
        saved(image, "PNG", save_all=True, append_images=[other]),
        saved(image, "WEBP", quality=80),
        saved(image, "WEBP", lossless=True),
        saved(image, "WEBP", save_all=True, append_images=[other]),
        saved(image, "GIF"),
        saved(image, "BMP"),
    ]


def flip_bits(picture: bytes, chance: random.Random) -> bytes:
    """A few bits flipped, in half of the cases near the start, where the header is."""
    broken = bytearray(picture)
    reach = len(broken) if chance.random() < 0.5 else min(len(broken), 64)
    for _ in range(chance.choice((1, 2, 8, 64))):
        broken[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(broken)


def cut_off(picture: bytes, chance: random.Random) -> bytes:
    """The start of a picture."""
    return picture[: chance.randrange(len(picture))]


def splice(picture: bytes, chance: random.Random) -> bytes:
    """A piece of the picture somewhere else in it, or noise."""
    start, end = sorted(chance.randrange(len(picture)) for _ in range(2))
    place = chance.randrange(len(picture))
    piece = (
        picture[start:end] if chance.random() < 0.5 else chance.randbytes(min(end - start, 4096))
    )
    return picture[:place] + piece + picture[place + len(piece) * chance.randrange(2) :]


def other_header(picture: bytes, chance: random.Random) -> bytes:
    """The signature of another format."""
    signatures = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBP", b"GIF89a")
    return chance.choice(signatures) + picture[chance.choice((0, 4, 8, 12)) :]


def absurd_size(picture: bytes, chance: random.Random) -> bytes:
    """A size in the header that the data do not have."""
    width, height = (chance.choice((0, 1, 7, 65_535, 2**24, 2**31 - 1)) for _ in range(2))
    if picture.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", width, height) + picture[24:29]
        return picture[:12] + header + struct.pack(">I", zlib.crc32(header)) + picture[33:]
    broken = bytearray(picture)
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        place = broken.find(marker)
        if place >= 0:
            broken[place + 5 : place + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
            return bytes(broken)
    if len(broken) > 30:  # WebP: the sizes of VP8, VP8L and VP8X lie there
        broken[20:30] = chance.randbytes(10)
    return bytes(broken)


def damaged_exif(picture: bytes, chance: random.Random) -> bytes:
    """An EXIF segment of noise, or with an orientation that does not exist."""
    if not picture.startswith(b"\xff\xd8"):
        return flip_bits(picture, chance)
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, chance.randrange(2**16), 0)
    body = chance.choice(
        (b"II*\x00\x08\x00\x00\x00\x01\x00" + entry + bytes(4), chance.randbytes(40), b"")
    )
    segment = b"Exif\x00\x00" + body
    size = chance.choice((len(segment) + 2, 2, 65_535))
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", size) + segment + picture[2:]


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits,
    cut_off,
    splice,
    other_header,
    absurd_size,
    damaged_exif,
)


def mutated(sources: Sequence[bytes], number: int, seed: int) -> bytes:
    """The picture of a number: the same for the same sources and seed."""
    chance = random.Random(f"{seed}-{number}")  # noqa: S311 (no secrets)
    picture = chance.choice(sources)
    for _ in range(chance.choice((1, 1, 1, 2))):
        picture = chance.choice(MUTATIONS)(picture, chance) or b"\x00"
    return picture
