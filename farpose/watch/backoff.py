"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from typing import Final

FACTOR: Final = 2.0


class Backoff:
    """Pauses that double up to a longest one, each shortened at random by up to half.

    What failed together, as the cameras behind one switch do, is then not tried again together.

    Args:
        first: seconds of the first pause, before it is shortened.
        longest: seconds that none exceeds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0
        """Since the last success."""

    def failed(self) -> float:
        """Count a failure; the seconds to wait."""
        pause = min(self._first * FACTOR ** min(self.failures, 32), self._longest)
        self.failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
