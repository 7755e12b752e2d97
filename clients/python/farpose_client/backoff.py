"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Backoff:
    """Tries, and pauses between them that double, with jitter.

    Raises:
        ValueError: a number that makes no sense.
    """

    attempts: int | None = 5
    """Tries in all, the first one included; None goes on for ever."""

    first: float = 0.25
    """Seconds before the second try."""

    most: float = 10.0
    """Pauses grow no longer than this many seconds."""

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts: at least 1, not {self.attempts}")
        if not 0 < self.first <= self.most:
            raise ValueError(f"first and most: 0 < first <= most, not {self.first}, {self.most}")

    def gives_up(self, tried: int) -> bool:
        """Whether so many tries were enough."""
        return self.attempts is not None and tried >= self.attempts

    def pause(self, tried: int, retry_after: float | None = None) -> float:
        """Seconds to wait after so many tries.

        A random share of half the pause is taken off, so that callers that failed together do not
        come back together. What the service asks for is waited in full, and a little more.
        """
        longest = min(self.most, self.first * 2.0 ** min(tried - 1, 30))
        share: float = random.uniform(0.5, 1)  # noqa: S311 - no secret
        own = longest * share
        return own if retry_after is None else max(own, retry_after + own * 0.1)


RETRIES = Backoff()
"""How calls are tried again unless told otherwise."""

NO_RETRIES = Backoff(attempts=1)
"""One try."""


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; None without one.

    A date is measured from the answer's own `Date`, so that clocks need not agree.
    """
    asked = headers.get("Retry-After", "").strip()
    if not asked:
        return None
    if asked.isascii() and asked.isdecimal():
        return float(asked[:9])
    until = _date(asked)
    if until is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
