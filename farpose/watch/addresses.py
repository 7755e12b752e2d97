"""What the user calls a camera: a name, and an address that is never shown with its password."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

SCHEMES: Final = frozenset(
    {"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"}
)
"""Of network cameras, as FFmpeg knows them."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_SECRET_QUERY: Final = re.compile(
    r"([?&;][^=&;#]*(?:pass|pwd|token|key|secret|auth|sig|user|usr|login)[^=&;#]*=)[^&;#]*",
    re.IGNORECASE,
)


class AddressError(ValueError):
    """A source is not given as one can be; the message names it without its credentials."""


class Kind(StrEnum):
    """What a source is, which says what its end means."""

    FILE = "file"
    DEVICE = "device"
    NETWORK = "network"


@dataclass(frozen=True)
class Source:
    """One camera or file."""

    name: str
    """Of letters, digits, `_`, `.` and `-`: it is part of topics and records."""

    address: str = field(repr=False)
    """As FFmpeg opens it, credentials included: it is for nobody's eyes."""

    kind: Kind

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return redacted(self.address)


def redacted(address: str) -> str:
    """An address as it may be printed: `***` for user and password, and for tokens in the query.

    >>> redacted("rtsp://admin:secret@192.0.2.7/street?token=abc&channel=1")
    'rtsp://***@192.0.2.7/street?token=***&channel=1'
    """
    scheme = _SCHEME.match(address)
    if scheme is None:
        return address
    rest = address[scheme.end() :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = "***@" + rest[authority.rindex("@") + 1 :]
    elif "@" in rest and re.search(r":(?!\d+$)", authority):
        # No port: a password that holds a slash, a question mark or such.
        rest = "***@" + rest[rest.rindex("@") + 1 :]
    return scheme.group() + _SECRET_QUERY.sub(r"\1***", rest)


def parse_sources(texts: Iterable[str]) -> tuple[Source, ...]:
    """Sources given as `ADDRESS` or `NAME=ADDRESS`.

    A name that is not given comes from the address; the second camera of that name is `name-2`.

    Raises:
        AddressError: no address, a scheme that is not a camera's, or a name given twice.
    """
    sources: list[Source] = []
    taken: set[str] = set()
    for text in texts:
        name, address = _split(text.strip())
        kind = _kind(address)
        if name is None:
            name = _unused(_name_of(address, kind), taken)
        elif name in taken:
            raise AddressError(f"two sources have the name {name}")
        taken.add(name)
        sources.append(Source(name, _opened_as(address, kind), kind))
    return tuple(sources)


def read_sources(path: Path) -> list[str]:
    """The sources in a file, one a line; empty lines and those that begin with `#` say nothing.

    Raises:
        AddressError: it is no text, or names no source.
        OSError: it cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except UnicodeDecodeError:
        raise AddressError(f"{path}: this is no text file") from None
    sources = [line for line in lines if line and not line.startswith("#")]
    if not sources:
        raise AddressError(f"{path} names no camera: write a SOURCE or NAME=SOURCE a line")
    return sources


def _split(text: str) -> tuple[str | None, str]:
    found = None if Path(text).exists() else _NAMED.fullmatch(text)
    name, address = (found[1], found[2]) if found else (None, text)
    if not address:
        raise AddressError("a source is empty: give an address, a file, or the number of a webcam")
    return name, address


def _kind(address: str) -> Kind:
    if address.isdecimal() or address.startswith("/dev/"):
        return Kind.DEVICE
    scheme = _SCHEME.match(address)
    if scheme is None or scheme[1].lower() == "file":
        return Kind.FILE
    if scheme[1].lower() not in SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise AddressError(f"{redacted(address)}: cameras are at {known}")
    return Kind.NETWORK


def _opened_as(address: str, kind: Kind) -> str:
    if kind is Kind.DEVICE and address.isdecimal():
        return f"/dev/video{address}"
    if kind is Kind.FILE:
        return address.removeprefix("file://")
    return address


def _name_of(address: str, kind: Kind) -> str:
    if kind is Kind.NETWORK:
        name = _SCHEME.sub("", re.split(r"[?#]", redacted(address))[0].replace("***@", ""))
    elif kind is Kind.DEVICE:
        name = Path(_opened_as(address, kind)).name
    else:
        name = Path(address).stem
    return _NOT_IN_A_NAME.sub("-", name).strip("-.") or "camera"


def _unused(name: str, taken: set[str]) -> str:
    unused, number = name, 1
    while unused in taken:
        number += 1
        unused = f"{name}-{number}"
    return unused
