"""What a report says of degraded frames."""

from __future__ import annotations

import numpy as np

from farpose.evaluation.report import plots
from farpose.evaluation.report.document import (
    Block,
    Cell,
    Gallery,
    Paragraph,
    Picture,
    Section,
    Table,
    Value,
    difference,
    estimated,
    heights,
)
from farpose.evaluation.report.gallery import spoilt
from farpose.evaluation.report.scoring import METRICS
from farpose.evaluation.report.sections import calibration_table
from farpose.evaluation.report.study import Condition, Measured, Study


def degradations(study: Study, examples: int) -> Section:
    """The same numbers, a row each degradation, and the people it cost most."""
    blocks: list[Block] = [
        Paragraph(
            "The whole frame is degraded, then people are cropped from it as always. Strengths are "
            "in pixels and grey levels of the frame, so a blur of 2 px is more to a person of "
            "30 px than to one of 300. Heights are those in the frame as it is."
        ),
        Gallery(plots.under_degradation(study.models, "PCK@0.2")),
    ]
    for model in study.models:
        blocks.append(_degraded_scores(model, detected=study.protocol.boxes == "detected"))
        bins = model.clean.scores.heights
        told = [m for m in ("AP", "PCK@0.2") if any(m in cell.estimates for cell in bins)]
        blocks += [_degraded_heights(model, metric) for metric in told]
        conditions = [(condition.label, condition) for condition in model.conditions]
        caption = f"{model.label}: scores and variances; the terms are explained above"
        blocks.append(calibration_table(conditions, caption))
    drawn = _spoilt(study, examples)
    if drawn:
        blocks += [
            Paragraph(
                "The people whom the strongest degradation of each kind cost "
                f"{study.models[0].label} most: the label, the prediction on the frame as it is, "
                "and that on the degraded one."
            ),
            Gallery(drawn),
        ]
    return Section("Blur, JPEG, noise and low resolution", tuple(blocks))


def _degraded_scores(model: Measured, *, detected: bool) -> Table:
    """Everybody, and how many of them a detector still found."""
    clean = model.clean.scores.everybody.estimates
    rows: list[tuple[Cell, ...]] = []
    for condition in model.conditions:
        found = condition.scores.everybody.estimates
        change = found["PCK@0.2"] - clean["PCK@0.2"] if "PCK@0.2" in found else None
        lost: Value = Value("") if condition is model.clean else difference(change)
        people = (str(int(condition.poses.found.sum())),) if detected else ()
        rows.append((condition.label, *people, *(estimated(found.get(m)) for m in METRICS), lost))
    names = ("frames", *(("people found",) if detected else ()), *METRICS, "change of PCK@0.2")
    return Table(names, tuple(rows), f"{model.label}, everybody")


def _degraded_heights(model: Measured, metric: str) -> Table:
    """Only bins with enough people: the others are named in the table by height."""
    kept = [i for i, c in enumerate(model.clean.scores.heights) if metric in c.estimates]
    cells = model.clean.scores.heights
    rows: list[tuple[Cell, ...]] = [
        (
            condition.label,
            *(estimated(condition.scores.heights[i].estimates.get(metric)) for i in kept),
        )
        for condition in model.conditions
    ]
    names = [heights(cells[i].low, cells[i].high) for i in kept]
    caption = f"{model.label}: {metric} by height; heights with too few people are left out"
    return Table(("frames", *names), tuple(rows), caption)


def _spoilt(study: Study, examples: int) -> tuple[Picture, ...]:
    model = study.models[0]
    strongest: dict[str, Condition] = {}
    for condition in model.degraded:
        step = condition.degradation
        if step is None:
            continue
        known = strongest.get(step.kind)
        if known is None or _mean(condition) < _mean(known):
            strongest[step.kind] = condition
    return tuple(
        picture
        for condition in strongest.values()
        for picture in spoilt(model, condition, study.dataset, study.protocol.seed, examples)
    )


def _mean(condition: Condition) -> float:
    return float(np.nanmean(condition.scores.similarities))
