"""Evaluation results as text for people, and as dictionaries for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from farpose.evaluation.detection import DetectionReport
from farpose.evaluation.heights import Accuracy
from farpose.evaluation.pck import HEIGHT_BINS
from farpose.evaluation.pckh import HeadAccuracy
from farpose.evaluation.reliability import Reliability
from farpose.evaluation.runner import PoseReport
from farpose.evaluation.shrink import ShrinkColumn
from farpose.options import PoseOptions

DETECTION_THRESHOLD: Final = PoseOptions().detection_threshold
"""What the service uses unless told otherwise."""

FALSE_BOXES_PER_PICTURE: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Prices at which a detector's recall is told."""


def pose_json(
    report: PoseReport,
    shrink: Sequence[ShrinkColumn] | None = None,
    heads: HeadAccuracy | None = None,
) -> dict[str, Any]:
    """All numbers of a pose model; what could not be computed is None."""
    precision = report.precision
    content: dict[str, Any] = {
        "AP": _number(precision.ap),
        "AP50": _number(precision.ap50),
        "AP75": _number(precision.ap75),
        "AR": _number(precision.ar),
        **_accuracy(report.accuracy),
        "found": report.found,
        "heights": [
            {**_range(row.low, row.high), **_accuracy(row.accuracy)} for row in report.heights
        ],
    }
    if shrink is not None:
        content["shrink"] = [
            {"height": column.height, **_accuracy(column.accuracy), "left_out": column.left_out}
            for column in shrink
        ]
    if heads is not None:
        content["PCKh@0.5"] = _number(heads.pckh_05)
        content["PCKh@0.1"] = _number(heads.pckh_01)
        content["PCKh@0.5_parts"] = {part: _number(share) for part, share in heads.parts.items()}
    return content


def pose_text(
    report: PoseReport,
    shrink: Sequence[ShrinkColumn] | None = None,
    heads: HeadAccuracy | None = None,
) -> str:
    """The same as tables."""
    precision = report.precision
    totals = (precision.ap, precision.ap50, precision.ap75, precision.ar)
    parts = [
        _table(("AP", "AP50", "AP75", "AR"), [[_text(value) for value in totals]]),
        _table(
            ("height", "people", "PCK@0.2", "PCK@0.5", "mean OKS"),
            [
                *(_row(_bin(b.low, b.high), b.accuracy) for b in report.heights),
                _row("all", report.accuracy),
            ],
        ),
    ]
    if heads is not None:
        shares = (*heads.parts.values(), heads.pckh_05, heads.pckh_01)
        parts.insert(
            0,
            _table(
                ("PCKh@0.5", *heads.parts, "mean", "mean@0.1"),
                [["", *(_text(share) for share in shares)]],
            ),
        )
    if shrink is not None:
        header = ("shrunk to", "people", "PCK@0.2", "PCK@0.5", "mean OKS", "left out")
        rows = [[*_row(f"{c.height} px", c.accuracy), str(c.left_out)] for c in shrink]
        parts.append(_table(header, rows))
    return "\n\n".join(parts)


def reliability_json(result: Reliability) -> dict[str, Any]:
    """The reliability of scores and variances; bins by spread are in longer sides of the box."""
    return {
        "joints": result.joints,
        "spearman": {
            "spread_pixels": _number(result.spread_pixels),
            "spread_relative": _number(result.spread_relative),
            "doubt_pixels": _number(result.doubt_pixels),
            "doubt_relative": _number(result.doubt_relative),
        },
        "score_bins": [
            {"score": _number(b.score), "PCK@0.2": _number(b.correct), "joints": b.joints}
            for b in result.score_bins
        ],
        "spread_bins": [
            {
                "spread": _number(b.spread),
                "median_error": _number(b.error),
                "quartiles": [_number(q) for q in b.quartiles],
                "joints": b.joints,
            }
            for b in result.spread_bins
        ],
    }


def reliability_text(result: Reliability) -> str:
    """The same as tables."""
    correlations = [
        ["predicted spread", _text(result.spread_pixels), _text(result.spread_relative)],
        ["1 - score", _text(result.doubt_pixels), _text(result.doubt_relative)],
    ]
    scores = [[_text(b.score), _text(b.correct), str(b.joints)] for b in result.score_bins]
    spreads = [
        [_text(b.spread), *map(_text, (b.quartiles[0], b.error, b.quartiles[1])), str(b.joints)]
        for b in result.spread_bins
    ]
    return "\n\n".join(
        [
            _table(("rank correlation with the error", "in pixels", "by box"), correlations),
            _table(("mean score", "PCK@0.2", "joints"), scores),
            _table(("mean spread / box", "error: 25 %", "50 %", "75 %", "joints"), spreads),
        ]
    )


def detector_json(report: DetectionReport) -> dict[str, Any]:
    """All numbers of a detector; what could not be computed is None."""
    threshold = DETECTION_THRESHOLD
    return {
        "recall": _number(report.recall(threshold)),
        "people": report.people(),
        "pictures": report.pictures,
        "threshold": threshold,
        "false_boxes_per_picture": _number(report.false_boxes(threshold) / report.pictures),
        "duplicate_boxes_per_picture": _number(report.duplicate_boxes(threshold) / report.pictures),
        "heights": [
            {
                **_range(low, high),
                "people": report.people(low, high),
                "recall": _number(report.recall(threshold, low, high)),
            }
            for low, high in pairwise(HEIGHT_BINS)
        ],
        "curve": [
            {
                "false_boxes_per_picture": point.false_boxes_per_picture,
                "threshold": _number(point.threshold),
                "recall": _number(point.recall),
            }
            for point in report.curve(FALSE_BOXES_PER_PICTURE)
        ],
    }


def detector_text(report: DetectionReport) -> str:
    """The same as tables."""
    content = detector_json(report)
    rows = [
        [_bin(low, high), str(row["people"]), _text(row["recall"])]
        for (low, high), row in zip(pairwise(HEIGHT_BINS), content["heights"], strict=True)
    ]
    rows.append(["all", str(content["people"]), _text(content["recall"])])
    prices = [
        [f"{row['false_boxes_per_picture']:g}", _text(row["threshold"]), _text(row["recall"])]
        for row in content["curve"]
    ]
    return "\n\n".join(
        [
            _table(("height", "people", f"recall at score {DETECTION_THRESHOLD}"), rows),
            f"false boxes per picture: {_text(content['false_boxes_per_picture'])} (people whom "
            "the annotations do not list count as such),\nsecond boxes on a person: "
            f"{_text(content['duplicate_boxes_per_picture'])}",
            _table(("false boxes per picture", "threshold", "recall"), prices),
        ]
    )


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "PCK@0.2": _number(accuracy.pck_02),
        "PCK@0.5": _number(accuracy.pck_05),
        "mean_OKS": _number(accuracy.mean_oks),
        "people": accuracy.people,
    }


def _row(name: str, accuracy: Accuracy) -> list[str]:
    scores = (accuracy.pck_02, accuracy.pck_05, accuracy.mean_oks)
    return [name, str(accuracy.people), *map(_text, scores)]


def _range(low: float, high: float) -> dict[str, float | None]:
    return {"from": low, "to": _number(high)}


def _bin(low: float, high: float) -> str:
    if math.isinf(high):
        return f">= {low:.0f} px"
    return f"{low:.0f}-{high:.0f} px" if low else f"< {high:.0f} px"


def _number(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return round(value, 4) if math.isfinite(value) else None


def _text(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
