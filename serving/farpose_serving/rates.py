"""How many pictures a caller may send in a time."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from farpose_serving.problems import TOO_MANY, ProblemError


class RateError(ValueError):
    """A rate is not written as one."""


def parsed_rate(text: str) -> RateLimitItem:
    """A rate such as `20/second`; `RateError` if it is none."""
    try:
        return parse(text)
    except ValueError as error:
        raise RateError(f"{text!r} is not a rate such as 20/second or 1000/minute") from error


class Rates:
    """Counts the pictures of each caller; None of a rate lets everybody send what he wants.

    A caller is remembered for two windows of the rate after his last picture.
    """

    def __init__(self, rate: str | None) -> None:
        self._rate = None if rate is None else parsed_rate(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, caller: str) -> dict[str, str]:
        """Count one picture.

        Returns:
            Headers that tell the rate and what is left of it, by the IETF's draft
            `draft-ietf-httpapi-ratelimit-headers`; none without a rate.

        Raises:
            ProblemError: 429, the caller has sent as many as he may for now.
        """
        if self._rate is None:
            return {}
        allowed = self._limiter.hit(self._rate, caller)
        stats = self._limiter.get_window_stats(self._rate, caller)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        amount, window = self._rate.amount, self._rate.get_expiry()
        headers = {
            "RateLimit-Policy": f'"pictures";q={amount};w={window}',
            "RateLimit": f'"pictures";r={stats.remaining};t={wait}',
        }
        if not allowed:
            raise ProblemError(
                TOO_MANY,
                f"More than {amount} pictures per {window} s: send the next in {wait} s.",
                {"Retry-After": str(wait), **headers},
            )
        return headers
