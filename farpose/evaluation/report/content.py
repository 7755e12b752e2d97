"""The numbers of a report for programs; what could not be computed is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from farpose.evaluation.report.bootstrap import FEWEST_PEOPLE, FEWEST_PICTURES, Estimate
from farpose.evaluation.report.calibration import SIGMAS, Calibration
from farpose.evaluation.report.comparing import Comparison, PairedCell
from farpose.evaluation.report.mistakes import Errors, Mistake
from farpose.evaluation.report.scoring import METRICS, PARTS, Cell
from farpose.evaluation.report.study import Condition, Study
from farpose.evaluation.tables import reliability_json


def to_json(study: Study, comparison: Comparison | None) -> dict[str, Any]:
    """Everything that was measured, except for the pictures."""
    dataset = study.dataset
    content: dict[str, Any] = {
        "pictures": len(dataset.pictures),
        "people": len(dataset),
        "keypoint_set": dataset.keypoint_set.name,
        "boxes": study.protocol.boxes,
        "seed": study.protocol.seed,
        "resamples": study.resamples,
        "fewest_people": FEWEST_PEOPLE,
        "fewest_pictures": FEWEST_PICTURES,
        "models": [
            {
                "name": model.label,
                "path": model.path,
                "conditions": [_condition(condition) for condition in model.conditions],
            }
            for model in study.models
        ],
    }
    if comparison is not None:
        content["comparison"] = _comparison(comparison)
    return content


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "degradation": None if condition.degradation is None else condition.degradation.name,
        "found": int(condition.poses.found.sum()),
        "everybody": _cell(condition.scores.everybody),
        "heights": [_cell(cell) for cell in condition.scores.heights],
        "parts": _estimates(condition.scores.parts, PARTS),
        "mistakes": _mistakes(condition.errors),
        "calibration": _calibration(condition.calibration),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "from": cell.low,
        "to": _number(cell.high),
        "people": cell.people,
        "pictures": cell.pictures,
        **_estimates(cell.estimates, METRICS),
    }


def _estimates(estimates: Mapping[str, Estimate], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _estimate(estimates.get(name)) for name in names}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    low, high = estimate.interval
    return {"value": _number(estimate.value), "low": _number(low), "high": _number(high)}


def _mistakes(errors: Errors) -> dict[str, int]:
    named = {m.name.lower(): errors.count(m) for m in Mistake if m > Mistake.NONE}
    return {"right": errors.count(Mistake.NONE), **named}


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "people": calibration.people,
        "enough_people": calibration.enough,
        **reliability_json(calibration.reliability),
        "score_gap": _number(calibration.score_gap),
        "within_sigmas": {
            f"{radius:g}": _number(share)
            for radius, share in zip(SIGMAS, calibration.within, strict=True)
        },
        "spread_factor": _number(calibration.spread_factor),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "first": comparison.first,
        "second": comparison.second,
        "conditions": [
            {"frames": condition.label, "cells": [_paired(cell) for cell in condition.cells]}
            for condition in comparison.conditions
        ],
        "parts": _estimates(comparison.parts, PARTS),
        "first_clearly_better": comparison.first_clearly_better,
        "second_clearly_better": comparison.second_clearly_better,
    }


def _paired(paired: PairedCell) -> dict[str, Any]:
    return {
        "from": paired.cell.low,
        "to": _number(paired.cell.high),
        **_estimates(paired.differences, METRICS),
    }


def _number(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return round(value, 4) if math.isfinite(value) else None
