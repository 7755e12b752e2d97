"""Statistics over seeds: each row's own, and its differences to the baseline in pairs.

Two runs of one seed draw the same samples, augmentations and first weights, so their difference
varies less from seed to seed than either of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farpose_training.study.results import Result


@dataclass(frozen=True)
class Spread:
    """Some values, one per seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Not a number without values."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """Sample standard deviation (n - 1); not a number for fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def positive(self) -> int:
        """How many are above zero."""
        return sum(value > 0 for value in self.values)

    def __len__(self) -> int:
        return len(self.values)


def spread(values: Mapping[int, float]) -> Spread:
    """Of values by seed."""
    return Spread(tuple(values[seed] for seed in sorted(values)))


def differences(values: Mapping[int, float], baseline: Mapping[int, float]) -> Spread:
    """`value - baseline` for every seed that both have."""
    return spread({seed: values[seed] - baseline[seed] for seed in values.keys() & baseline.keys()})


class Table:
    """Finished runs, asked for by row.

    Args:
        results: of one variant.
        baseline: the row that others are compared with.
    """

    def __init__(self, results: Sequence[Result], baseline: str) -> None:
        self._rows: dict[str, dict[int, Result]] = {}
        for result in results:
            self._rows.setdefault(result.row, {})[result.seed] = result
        self.baseline = baseline

    def seeds(self, row: str) -> list[int]:
        """Those that are finished."""
        return sorted(self._rows.get(row, {}))

    def of(self, row: str, column: str) -> Spread:
        """A column's values; seeds without a number are left out."""
        return spread(self._values(row, column))

    def paired(self, row: str, column: str) -> Spread:
        """A column's differences to the baseline."""
        return differences(self._values(row, column), self._values(self.baseline, column))

    def _values(self, row: str, column: str) -> dict[int, float]:
        return {
            seed: result.values[column]
            for seed, result in self._rows.get(row, {}).items()
            if column in result.values
        }
