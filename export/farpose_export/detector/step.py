"""The step from a detector to the same in fewer bits, and how much may change in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

LIMITS: Final = {"fp16": 0.2, "int8": 0.5}
"""Percentage points of recall that may be lost, by precision. No option loosens them."""


@dataclass(frozen=True)
class Found:
    """Whom a detector finds of the labelled people; a box is on one from an IoU of 0.5."""

    recall: float
    """Share found at the pipeline's own score threshold."""

    false_boxes: int
    """Boxes on nobody labelled, at that threshold."""

    recall_at_price: float
    """Share found at the lowest threshold that lets no more false boxes through than FP32's."""


@dataclass(frozen=True)
class DetectorStep:
    """What changed between two graphs on the same labelled pictures."""

    target: str
    """The lower precision; the source is FP32."""

    pictures: int
    """Looks at pictures: each counts at each size."""

    people: int
    """Labelled, in all these looks."""

    before: Found
    after: Found
    detections: int
    """Boxes of FP32 at the pipeline's score threshold."""

    agreeing: int
    """Of them, those with a box of the lower precision that overlaps by more than 0.8, at any
    score that is reported. No limit: recall tells what the differences cost."""

    @property
    def points_lost(self) -> float:
        """The larger loss of recall, in percentage points."""
        lost = (
            self.before.recall - self.after.recall,
            self.before.recall_at_price - self.after.recall_at_price,
        )
        return 100 * max(lost)

    def failures(self) -> list[str]:
        """What is past its limit, in words; empty where the step is fine."""
        if self.points_lost <= LIMITS[self.target]:
            return []
        return [
            f"loss of recall {self.points_lost:.3g} points is above {LIMITS[self.target]:g} points"
        ]

    def text(self) -> str:
        """One line for people."""
        return (
            f"fp32 to {self.target}: recall of {self.people} people {100 * self.before.recall:.2f} "
            f"to {100 * self.after.recall:.2f}, at equal false boxes "
            f"{100 * self.before.recall_at_price:.2f} to {100 * self.after.recall_at_price:.2f}, "
            f"false boxes {self.before.false_boxes} to {self.after.false_boxes}, "
            f"{self.agreeing} of {self.detections} detections agree"
        )

    def to_json(self) -> dict[str, Any]:
        """For `parity.json`."""
        return {
            "source": "fp32",
            **asdict(self),
            "points_lost": self.points_lost,
            "limits": {"points": LIMITS[self.target]},
            "failures": self.failures(),
        }
