"""What is known of a camera while it is watched: for the view, the log and the exit code."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RATE_SECONDS: Final = 5.0
"""Over which pictures per second are counted."""


class State(StrEnum):
    """Where a camera is."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"
    ENDED = "ended"
    FAILED = "failed"


@dataclass
class CameraState:
    """One camera's figures; each is written by one thread alone."""

    name: str
    shown: str
    """Its address without credentials."""

    state: State = State.CONNECTING
    reason: str = ""
    """Why it is lost or has failed."""

    description: str = ""
    """Size and codec, once it was open."""

    retry_at: float = 0.0
    """When it is tried again, by the monotonic clock; it is lost until then."""

    reconnects: int = 0
    read: int = 0
    """Pictures that it has given."""

    answered: int = 0
    unanswered: int = 0
    """Pictures that were looked at in vain."""

    dropped: int = 0
    """Pictures that gave way to newer ones."""

    people: int = 0
    """In the last answered picture."""

    latency_ms: float = 0.0
    """From when the last answered picture was read to its answer."""

    _answers: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def answer(self, people: int, latency_ms: float) -> None:
        """Count an answered picture."""
        self.answered += 1
        self.people = people
        self.latency_ms = latency_ms
        self._answers.append(time.monotonic())

    def rate(self) -> float:
        """Answered pictures per second, over the last seconds."""
        now = time.monotonic()
        recent = [at for at in self._answers if now - at <= RATE_SECONDS]
        if len(recent) < 2:
            return 0.0
        span = max(recent[-1] - recent[0], now - recent[-1])
        return (len(recent) - 1) / span if span > 0 else 0.0

    @property
    def has_failed(self) -> bool:
        """Whether something of it should be looked into, as the exit code says."""
        down = self.state in (State.FAILED, State.LOST) or not self.answered
        return down or self.unanswered > 0
