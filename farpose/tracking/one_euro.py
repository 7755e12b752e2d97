"""The One-Euro filter: smooth where a point rests, quick where it moves.

Casiez, Roussel and Vogel, CHI 2012. Here speeds are in heights of the person per second, so that
the same settings suit people of all sizes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MINIMUM_CUTOFF: Final = 1.5
"""Hz: what a resting joint keeps."""

SPEED_COEFFICIENT: Final = 4.0
"""Hz that the cutoff rises by for each height per second."""

SPEED_CUTOFF: Final = 1.0
"""Hz: how quickly the speed itself is believed (the paper's value)."""


class OneEuroFilter:
    """Smooths the joints of one person.

    Args:
        joints: how many.
    """

    def __init__(self, joints: int) -> None:
        self._points = np.zeros((joints, 2))
        self._speeds = np.zeros((joints, 2))
        self._known = np.zeros(joints, bool)
        self._time = 0.0

    def __call__(
        self,
        points: NDArray[np.float32],
        known: NDArray[np.bool_],
        height: float,
        timestamp: float,
    ) -> NDArray[np.float64]:
        """Smoothed points `[J,2]`.

        Args:
            points: `[J,2]` in frame pixels.
            known: `[J]`: the others are passed through, and start anew when they are known again.
            height: of the person in frame pixels.
            timestamp: seconds, later than the last one.
        """
        elapsed = timestamp - self._time
        started = known & ~self._known
        going_on = known & self._known
        moved = np.where(going_on[:, None], (points - self._points) / elapsed, 0.0)
        speeds = self._speeds + _weight(SPEED_CUTOFF, elapsed) * (moved - self._speeds)
        self._speeds = np.where(going_on[:, None], speeds, 0.0)
        quickness = np.linalg.norm(self._speeds, axis=1) / height
        weights = _weight(MINIMUM_CUTOFF + SPEED_COEFFICIENT * quickness, elapsed)
        weights = np.where(started | ~known, 1.0, weights)[:, None]
        self._points = self._points + weights * (points - self._points)
        self._known = known.copy()
        self._time = timestamp
        return self._points.copy()


def _weight(cutoff: float | NDArray[np.float64], elapsed: float) -> NDArray[np.float64]:
    """Of the new value, in a first-order low pass with a cutoff in Hz."""
    turns = 2 * np.pi * np.asarray(cutoff) * elapsed
    return np.asarray(turns / (turns + 1))
