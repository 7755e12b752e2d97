"""How well a low score, or a wide spread, tells that a joint is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.reliability import FRACTION, torsos_or_boxes
from farpose.evaluation.runner import PoseReport

PRECISION: Final = 0.8
"""Share of the joints below a threshold that are wrong."""


@dataclass(frozen=True)
class Joints:
    """Labelled joints of people who were found."""

    wrong: NDArray[np.bool_]
    """`[K]`: farther from the label than a fifth of the torso, as in PCK@0.2."""

    scores: NDArray[np.float64]
    """`[K]` of the model."""

    spreads: NDArray[np.float64]
    """`[K]` standard deviation in longer sides of the box."""

    halves: NDArray[np.bool_]
    """`[K]`: to which half of the people the joint belongs, every second one."""

    @classmethod
    def of(cls, parts: Iterable[tuple[PoseReport, PoseDataset]]) -> Self:
        """The joints of several sets of people together."""
        columns = [_joints(report, truth) for report, truth in parts]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def half(self, second: bool) -> Joints:
        """Those of one half of the people."""
        own = self.halves == second
        return Joints(self.wrong[own], self.scores[own], self.spreads[own], self.halves[own])


@dataclass(frozen=True)
class Flagging:
    """A threshold and how it did."""

    threshold: float
    flagged: float
    """Share of all joints."""

    precision: float
    """Share of the flagged joints that are wrong."""

    recall: float
    """Share of the wrong joints that are flagged."""


def choose(doubt: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """The least doubt from which joints `[K]` are wrong with `PRECISION`; inf if none is."""
    order = np.argsort(-doubt, kind="stable")
    precision = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(precision >= PRECISION)
    return float(doubt[order[enough[-1]]]) if len(enough) else float("inf")


def judge(doubt: NDArray[np.float64], wrong: NDArray[np.bool_], threshold: float) -> Flagging:
    """How a threshold does on joints `[K]`; nan where nothing is flagged."""
    flagged = doubt >= threshold
    hits = int((flagged & wrong).sum())
    precision = hits / int(flagged.sum()) if flagged.any() else float("nan")
    return Flagging(threshold, float(flagged.mean()), precision, hits / max(int(wrong.sum()), 1))


def _joints(report: PoseReport, truth: PoseDataset) -> tuple[NDArray[np.generic], ...]:
    found = np.isfinite(report.own[..., 0])
    people, joints = np.nonzero((truth.keypoints[..., 2] > 0) & found)
    own = report.own[people, joints].astype(np.float64)
    errors = np.linalg.norm(own[:, :2] - truth.keypoints[people, joints, :2], axis=1)
    sides = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1)
    torsos = torsos_or_boxes(truth)
    spreads = np.sqrt(report.own_variances[people, joints].astype(np.float64).sum(axis=1))
    return errors > FRACTION * torsos[people], own[:, 2], spreads / sides[people], people % 2 == 1
