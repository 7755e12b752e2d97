"""A webhook: every record is posted as JSON."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from farpose.watch.backoff import Backoff
from farpose.watch.records import Record
from farpose.watch.sinks.queue import LostError, Stopping

AGAIN: Final = frozenset({408, 425, 429})
"""Statuses below 500 after which the same record is posted again."""

LONGEST_WAIT: Final = 300.0
"""Seconds of `Retry-After` that are obeyed at most."""

MAX_ANSWER: Final = 65536
"""Bytes of an answer that are read, so that the connection can be used again."""


class WebhookError(ValueError):
    """The address or a secret is not one."""


class Webhook:
    """Posts records until each is taken or refused.

    Args:
        url: where to.
        secret: signs the body: `X-Farpose-Signature: t=SECONDS,sha256=HEX` is the HMAC-SHA256 of
            `SECONDS.BODY`.
        token: sent as `Authorization: Bearer TOKEN`.
        says: told why nothing arrives, and with "" that it does again.
        timeout: seconds that the receiver may take to connect, to take a record, and to answer.

    Raises:
        WebhookError: `url` is no http or https address, or has a user beside `token`.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        token: str | None,
        says: Callable[[str], None],
        timeout: float = 10.0,
    ) -> None:
        try:
            address = httpx2.URL(url)
        except httpx2.InvalidURL:
            address = httpx2.URL()
        known = address.scheme in ("http", "https") and (address.port or 80) < 65536
        if not known or not address.host:
            raise WebhookError("--webhook takes an address such as https://example.org/people")
        self._url = address
        self._secret = secret
        self._says = says
        self._timeout = timeout
        headers = {"Content-Type": "application/json", "User-Agent": "farpose-watch"}
        if token is not None and address.userinfo:
            raise WebhookError("give a user in the webhook's address or a token, and not both")
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._client = httpx2.Client(timeout=timeout, headers=headers)
        except (ValueError, UnicodeError):
            raise WebhookError("the webhook's token holds characters that no header may") from None
        self._backoff = Backoff(first=0.5, longest=30.0)

    def deliver(self, record: Record, stopping: Stopping) -> None:
        """See `Delivery.deliver`."""
        while True:
            pause = self._post(record)
            if pause is None:
                self._backoff.succeeded()
                return
            if stopping.wait(pause):
                raise LostError("the command ended before the record was taken")

    def finish(self, stopping: Stopping) -> int:
        """See `Delivery.finish`."""
        self._client.close()
        return 0

    def _post(self, record: Record) -> float | None:
        """Post once; the seconds until the next attempt, None if it was taken."""
        headers = {} if self._secret is None else signature(self._secret, record.body)
        try:
            with self._client.stream(
                "POST", self._url, content=record.body, headers=headers
            ) as response:
                status = response.status_code
                wanted = retry_after(response.headers.get("Retry-After"))
                self._read(response)
        except httpx2.TimeoutException:
            self._says(f"no answer within {self._timeout:.3g} s")
            return self._backoff.failed()
        except httpx2.HTTPError as error:
            self._says(f"cannot be reached ({type(error).__name__})")
            return self._backoff.failed()
        if status < 300:
            return None
        if status >= 500 or status in AGAIN:
            self._says(f"answers {status}")
            return max(self._backoff.failed(), wanted)
        if status < 400:
            raise LostError(f"answers {status}: give the address that it points to")
        raise LostError(f"refuses records: it answers {status}")

    def _read(self, response: httpx2.Response) -> None:
        end, size = time.monotonic() + self._timeout, 0
        for part in response.iter_raw():
            size += len(part)
            if size > MAX_ANSWER or time.monotonic() > end:
                return


def signature(secret: bytes, body: bytes, now: float | None = None) -> dict[str, str]:
    """The header by which a receiver knows that a record is genuine and not an old one again."""
    seconds = str(round(time.time() if now is None else now))
    digest = hmac.new(secret, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Farpose-Signature": f"t={seconds},sha256={digest}"}


def retry_after(value: str | None) -> float:
    """Seconds of a `Retry-After` header, a number or a date; 0 where there is none to obey."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else 0.0
