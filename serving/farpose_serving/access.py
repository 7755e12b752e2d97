"""Who may call: API keys, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Final

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from farpose_serving.problems import UNAUTHORIZED, ProblemError

ANYBODY: Final = ""
"""The caller where no keys are asked for."""

KEY_SCHEMES: Final = [
    Security(HTTPBearer(auto_error=False, description="The API key, where one is asked for.")),
    Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="The same.")),
]
"""How a key is sent, as OpenAPI says it; `caller` judges it."""

_LINE: Final = re.compile(r"([\w.-]{1,64}):([0-9a-f]{64})")


class KeysError(ValueError):
    """The file of keys cannot be used."""


class Keys:
    """Names by the SHA-256 of their keys.

    The keys are long and random (`new_key`), so that a plain hash cannot be searched for them.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    @classmethod
    def read(cls, path: Path) -> Keys:
        """The keys of a file with a `NAME:SHA256` in each line; `#` starts a comment.

        Raises:
            KeysError: it cannot be read, a line is wrong, or there is no key in it.
        """
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise KeysError(f"api_keys_file: {path} cannot be read ({error})") from error
        names: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            entry = line.partition("#")[0].strip()
            if not entry:
                continue
            match = _LINE.fullmatch(entry)
            if match is None:
                raise KeysError(
                    f"api_keys_file: line {number} of {path} is not NAME:SHA256: "
                    "farpose new-key NAME prints such a line"
                )
            names[match[2]] = match[1]
        if not names:
            raise KeysError(f"api_keys_file: {path} holds no key: farpose new-key NAME makes one")
        return cls(names)

    def name_of(self, key: str) -> str | None:
        """Whose key it is; how long it takes does not depend on how much of a key is right."""
        found, own = None, hashed(key)
        for digest, name in self._names.items():
            if hmac.compare_digest(digest, own):
                found = name
        return found


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return f"fp_{secrets.token_urlsafe(32)}"


def hashed(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def sent_key(connection: HTTPConnection) -> str | None:
    """The key that a request carries, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    scheme, _, token = connection.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return connection.headers.get("X-API-Key") or None


def address(connection: HTTPConnection) -> str:
    """Where a request comes from, to be counted: of IPv6 the /64, as one machine has all of it."""
    host = "" if connection.client is None else connection.client.host
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]  # a proxy on this machine may say anything
    if isinstance(found, ipaddress.IPv4Address):
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found.packed[:8] + bytes(8), 64)))


def is_foreign(connection: HTTPConnection, allowed: Collection[str]) -> bool:
    """Whether a page of an origin that is not allowed sends this.

    Browsers ask beforehand only for some requests, and never for WebSockets: they leave it to the
    server.
    """
    origin = connection.headers.get("Origin")
    if origin is None or connection.headers.get("Sec-Fetch-Site") == "same-origin":
        return False
    own = origin.partition("://")[2] == connection.headers.get("Host")
    return not (own or origin in allowed or "*" in allowed)


def caller(keys: Keys | None, key: str | None) -> str:
    """The name of who calls, `ANYBODY` where no keys are asked for.

    Raises:
        ProblemError: 401, the key is missing or wrong.
    """
    if keys is None:
        return ANYBODY
    name = None if key is None else keys.name_of(key)
    if name is None:
        wrong = "is missing" if key is None else "is not known here"
        raise ProblemError(
            UNAUTHORIZED,
            f"The API key {wrong}: send Authorization: Bearer KEY or X-API-Key: KEY.",
            {"WWW-Authenticate": 'Bearer realm="farpose"'},
        )
    return name
