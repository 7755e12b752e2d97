"""Two models on the same people: paired differences, and who of them wins where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.report.bootstrap import Estimate
from farpose.evaluation.report.scoring import Cell
from farpose.evaluation.report.study import Measured

CLEAR: Final = 0.1
"""Difference in a person's OKS from which one model is told to be better at that person."""


@dataclass(frozen=True)
class PairedCell:
    """Differences over the people of one range of heights."""

    cell: Cell
    """Of the first model: range and counts."""

    differences: Mapping[str, Estimate]
    """By name of `METRICS`, first model less second; those with too few people are not there."""


@dataclass(frozen=True)
class PairedCondition:
    """Differences on frames as they are, or degraded in one way."""

    label: str
    cells: tuple[PairedCell, ...]
    """Everybody, then the bins of heights."""


@dataclass(frozen=True)
class Comparison:
    """The first model less the second: above 0 the first is better."""

    first: str
    second: str
    conditions: tuple[PairedCondition, ...]
    """Frames as they are come first."""

    parts: Mapping[str, Estimate]
    """Of PCK@0.2 by part of the body, on frames as they are."""

    similarities: NDArray[np.float64]
    """`[P]` of each person's OKS, on frames as they are."""

    @property
    def first_clearly_better(self) -> int:
        """People whose OKS is at least `CLEAR` higher with the first model."""
        return int(np.count_nonzero(self.similarities >= CLEAR))

    @property
    def second_clearly_better(self) -> int:
        """The same with the second."""
        return int(np.count_nonzero(self.similarities <= -CLEAR))

    def winner(self, difference: Estimate) -> str | None:
        """Which model the interval says is better; None where it holds 0."""
        if not difference.differs_from_zero:
            return None
        return self.first if difference.value > 0 else self.second


def compare(first: Measured, second: Measured) -> Comparison:
    """Pair two models that were measured in one study."""
    return Comparison(
        first=first.label,
        second=second.label,
        conditions=tuple(
            PairedCondition(
                one.label,
                tuple(
                    PairedCell(cell, _differences(cell.estimates, other_cell.estimates))
                    for cell, other_cell in zip(one.scores.cells, other.scores.cells, strict=True)
                ),
            )
            for one, other in zip(first.conditions, second.conditions, strict=True)
        ),
        parts=_differences(first.clean.scores.parts, second.clean.scores.parts),
        similarities=first.clean.scores.similarities - second.clean.scores.similarities,
    )


def _differences(one: Mapping[str, Estimate], other: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: one[name] - other[name] for name in one if name in other}
