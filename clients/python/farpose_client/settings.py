"""What both clients are set up with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final
from urllib.request import getproxies

import httpx2

from farpose_client.address import checked_url, key_headers
from farpose_client.backoff import Backoff
from farpose_client.call import Call, Limits, Request
from farpose_client.handshake import Handshake
from farpose_client.stream_book import StreamBook, reconnecting

KEEPALIVE_SECONDS: Final = 4.0
"""The service closes idle connections after 5 seconds; this side is first."""

POLL_SECONDS: Final = 0.2
"""Between two looks at a service that is starting."""


class Unset(Enum):
    """Stands for an argument that was not given, where None means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True)
class Settings:
    """Checked arguments of a client."""

    url: str
    headers: dict[str, str]
    limits: Limits
    retries: Backoff
    tls: ssl.SSLContext | None

    @classmethod
    def of(
        cls,
        url: str,
        api_key: str | None,
        deadline: float | None,
        timeout: float,
        connect_timeout: float,
        retries: Backoff,
        tls: ssl.SSLContext | None,
        headers: Mapping[str, str] | None,
    ) -> Settings:
        """Settings from a client's arguments; `ValueError` for one that makes no sense."""
        limits = Limits(deadline, timeout, connect_timeout)
        own = {**(headers or {}), **key_headers(api_key)}
        address = checked_url(url)
        if tls is None and address.startswith("https:"):
            tls = ssl.create_default_context()  # for calls and streams alike
        return cls(address, own, limits, retries, tls)

    def http(self) -> dict[str, Any]:
        """Arguments of the HTTP library's clients."""
        return {
            "headers": self.headers,
            "verify": self._trusted(),
            "limits": httpx2.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS),
        }

    def _trusted(self) -> ssl.SSLContext:
        if self.tls is not None:
            return self.tls
        if getproxies():
            return ssl.create_default_context()
        # Nothing that is trusted will be needed, and to read all authorities takes 40 ms.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def call(
        self,
        request: Request,
        deadline: float | Unset | None = UNSET,
        retries: Backoff | None = None,
    ) -> Call:
        """A call that begins now."""
        limits = self.limits
        if not isinstance(deadline, Unset):
            limits = replace(limits, deadline=deadline)
        return Call(request, self.url, limits, self.retries if retries is None else retries)

    def handshake(self) -> Handshake:
        """How a stream connects."""
        return Handshake(self.url, self.headers, self.tls, self.limits.connect)

    def book(self, reconnect: bool | Backoff) -> StreamBook:
        """What a stream knows, at its beginning."""
        return StreamBook(self.url, reconnecting(reconnect))
