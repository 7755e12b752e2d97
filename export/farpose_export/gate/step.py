"""One step from a network to the next, and how much may change in it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from farpose_export.gate.outputs import Outputs
from farpose_export.gate.people import PeopleScores
from farpose_training.config import CalConfig, HeatmapConfig, ModelConfig, SimCCConfig


@dataclass(frozen=True)
class Limits:
    """What a step may change at most; none of a limit means that it is only reported."""

    score: float | None
    """Of any joint's score."""

    moved: float | None
    """Share of joints that move by more than one class of the head. The largest move is no limit:
    an argmax may flip between two equal peaks."""

    points: float
    """Percentage points of PCK@0.2 and of AP that may be lost."""


LIMITS: Final = {
    "fp32": Limits(score=1e-4, moved=0.001, points=0.2),
    "fp16": Limits(score=None, moved=0.005, points=0.2),
    "int8": Limits(score=None, moved=None, points=0.5),
}
"""By the precision that a step leads to. There is no option to loosen them."""


@dataclass(frozen=True)
class Step:
    """What changed between two networks on the same crops."""

    source: str
    """`checkpoint`, or a precision."""

    target: str
    """A precision."""

    crops: int
    max_keypoint_pixels: float
    mean_keypoint_pixels: float
    moved_share: float
    max_score: float
    before: PeopleScores | None = None
    after: PeopleScores | None = None

    @property
    def points_lost(self) -> float:
        """The larger loss of PCK and AP in percentage points; nan where nobody is labelled."""
        if self.before is None or self.after is None:
            return math.nan
        lost = (self.before.pck - self.after.pck, self.before.ap - self.after.ap)
        return 100 * max((value for value in lost if not math.isnan(value)), default=math.nan)

    def failures(self) -> list[str]:
        """What is past its limit, in words; empty where the step is fine."""
        limits = LIMITS[self.target]
        checks = (
            ("largest change of a score", self.max_score, limits.score, ""),
            ("share of joints moved by more than a class", self.moved_share, limits.moved, ""),
            ("loss of accuracy", self.points_lost, limits.points, " points"),
        )
        return [
            f"{what} {value:.3g}{unit} is above {limit:g}{unit}"
            for what, value, limit, unit in checks
            if limit is not None and value > limit
        ] + [
            f"{name} of {self.target} are not finite"
            for name, value in (
                ("keypoints", self.mean_keypoint_pixels),
                ("scores", self.max_score),
            )
            if not math.isfinite(value)
        ]

    def text(self) -> str:
        """One line for people."""
        parts = [
            f"{self.source} to {self.target}",
            f"keypoints move {self.mean_keypoint_pixels:.2g} px in the mean and "
            f"{self.max_keypoint_pixels:.2g} at most, {self.moved_share:.2%} of them by more than "
            "a class",
            f"scores by {self.max_score:.2g} at most",
        ]
        if self.before is not None and self.after is not None:
            parts.append(
                f"PCK@0.2 {100 * self.before.pck:.2f} to {100 * self.after.pck:.2f}, "
                f"AP {100 * self.before.ap:.2f} to {100 * self.after.ap:.2f}"
            )
        return ": ".join([parts[0], ", ".join(parts[1:])])

    def to_json(self) -> dict[str, Any]:
        """For `parity.json`; what is not known is null."""
        numbers = ("max_keypoint_pixels", "mean_keypoint_pixels", "moved_share", "max_score")
        return {
            "source": self.source,
            "target": self.target,
            "crops": self.crops,
            **{name: getattr(self, name) for name in numbers},
            "before": _scores(self.before),
            "after": _scores(self.after),
            "points_lost": _known(self.points_lost),
            "limits": asdict(LIMITS[self.target]),
            "failures": self.failures(),
        }


def _scores(scores: PeopleScores | None) -> dict[str, float | None] | None:
    return None if scores is None else {"pck": _known(scores.pck), "ap": _known(scores.ap)}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def compare(
    source: str,
    target: str,
    before: Outputs,
    after: Outputs,
    pixels_per_class: float,
) -> Step:
    """The step between two networks' answers for the same crops.

    Args:
        source: see `Step`.
        target: see `Step`.
        before: answers of the first.
        after: answers of the second.
        pixels_per_class: see `class_pixels`.
    """
    distances = np.abs(after.keypoints - before.keypoints)
    return Step(
        source=source,
        target=target,
        crops=len(distances),
        max_keypoint_pixels=float(distances.max()),
        mean_keypoint_pixels=float(distances.mean()),
        moved_share=float((distances.max(axis=-1) > pixels_per_class).mean()),
        max_score=float(np.abs(after.scores - before.scores).max()),
    )


def class_pixels(config: ModelConfig) -> float:
    """Crop pixels between two neighbouring answers of the head: a bin, or a cell of its maps.

    A head that regresses has no classes; 1 crop pixel stands for one.
    """
    match config.head:
        case SimCCConfig() as head:
            return 1 / head.split_factor
        case HeatmapConfig() | CalConfig():
            return 4 / config.upscale
        case _:
            return 1.0
