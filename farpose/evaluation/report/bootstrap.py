"""Intervals by resampling pictures: how much a number could differ on other pictures like these.

Pictures are drawn with replacement, not people: people of one picture share its light and its
camera. Every number of a report is computed on the same draws, so that differences between two
models, or between clean and blurred pictures, are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 1000
"""Draws, enough for the ends of a 95 % interval."""

FEWEST_PEOPLE: Final = 20
"""Fewer people than this say too little for a number."""

FEWEST_PICTURES: Final = 5
"""So do fewer pictures: an interval over four of them means nothing."""

_TAILS: Final = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A number and what it was in every draw."""

    value: float
    """On all pictures; nan where there is nothing to compute it from."""

    samples: NDArray[np.float64]
    """`[B]` in each draw; nan where a draw has nothing to compute it from."""

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % percentile interval; nan without samples."""
        known = self.samples[np.isfinite(self.samples)]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.percentile(known, _TAILS)
        return float(low), float(high)

    @property
    def differs_from_zero(self) -> bool:
        """Whether the interval leaves out 0, which is read of differences."""
        low, high = self.interval
        return low > 0 or high < 0

    def __sub__(self, other: Estimate) -> Estimate:
        """The paired difference, draw by draw."""
        return Estimate(self.value - other.value, self.samples - other.samples)


@dataclass(frozen=True)
class Draws:
    """How often every picture is in each draw."""

    counts: NDArray[np.float64]
    """`[B,I]`."""

    @classmethod
    def of(
        cls, pictures: int, used: NDArray[np.intp], *, seed: int, resamples: int = RESAMPLES
    ) -> Self:
        """Draw `resamples` times as many of the used pictures as there are.

        Args:
            pictures: `I`, of the dataset.
            used: indices of those that are drawn from.
            seed: the same draws again.
            resamples: `B`.
        """
        counts = np.zeros((resamples, pictures))
        shares = np.full(len(used), 1 / len(used))
        counts[:, used] = np.random.default_rng(seed).multinomial(len(used), shares, resamples)
        return cls(counts)

    def mean(self, values: NDArray[np.float64], pictures: NDArray[np.intp]) -> Estimate:
        """The mean of values `[P]` or `[P,J]` of people, without those that are nan.

        Args:
            values: of each person.
            pictures: `[P]` the picture each is in.
        """
        known = np.isfinite(values)
        sums = np.atleast_2d(np.where(known, values, 0.0).T).sum(axis=0)
        counts = np.atleast_2d(known.T).sum(axis=0)
        total, number = float(sums.sum()), int(counts.sum())
        length = self.counts.shape[1]
        drawn = self.counts @ np.bincount(pictures, sums, length)
        of = self.counts @ np.bincount(pictures, counts, length)
        samples = np.divide(drawn, of, out=np.full(len(of), np.nan), where=of > 0)
        return Estimate(total / number if number else float("nan"), samples)


def too_few(people: int, pictures: int) -> bool:
    """Whether so many people, in so many pictures, are too few for a number."""
    return people < FEWEST_PEOPLE or pictures < FEWEST_PICTURES
