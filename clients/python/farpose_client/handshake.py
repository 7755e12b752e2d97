"""How a stream connects."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from farpose_client.address import stream_url

MAX_REPLY_BYTES: Final = 16 * 2**20
CLOSE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Handshake:
    """Where to and how."""

    url: str
    """Of the service."""

    headers: dict[str, str]
    tls: ssl.SSLContext | None
    seconds: float
    """To connect in."""

    def settings(self, left: float | None = None) -> dict[str, Any]:
        """Arguments of `connect` of websockets, which may take no longer than what is left."""
        tls = {} if self.tls is None else {"ssl": self.tls}
        return {
            "additional_headers": self.headers,
            "open_timeout": self.seconds if left is None else min(self.seconds, left),
            "close_timeout": CLOSE_SECONDS,
            "compression": None,  # pictures are compressed
            "max_size": MAX_REPLY_BYTES,
            **tls,
        }

    def address(self, query: dict[str, str]) -> str:
        """Where to connect to, with the options of a stream."""
        address = stream_url(self.url)
        return f"{address}?{urlencode(query)}" if query else address
