"""The time of each frame of a video, for following people: every one later than the one before."""

from __future__ import annotations

from typing import Final

from farpose.sources import Frame

ASSUMED_RATE: Final = 25.0
"""Frames per second of a video that does not say."""

STEP: Final = 1e-3
"""Seconds by which a frame is later than the one before where its time does not say so."""


class FrameClock:
    """Seconds from the beginning of one video; a file may tell the same time twice."""

    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, frame: Frame) -> float:
        """Of the next frame: its own time, or one that its number gives, but always later."""
        time = frame.time
        if time is None:
            time = (frame.index or 0) / (frame.rate or ASSUMED_RATE)
        if self._last is not None and time <= self._last:
            time = self._last + STEP
        self._last = time
        return time
