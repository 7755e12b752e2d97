"""What a report says of each of its models on frames as they are."""

from __future__ import annotations

from collections.abc import Sequence

from farpose.evaluation.report import gallery, plots
from farpose.evaluation.report.bootstrap import FEWEST_PEOPLE, FEWEST_PICTURES
from farpose.evaluation.report.calibration import EXPECTED, SIGMAS
from farpose.evaluation.report.document import (
    TOO_FEW,
    Block,
    Bullets,
    Cell,
    Gallery,
    Paragraph,
    Section,
    Table,
    Value,
    counted,
    estimated,
    heights,
    number,
)
from farpose.evaluation.report.mistakes import MEANING, Mistake
from farpose.evaluation.report.scoring import METRICS, PARTS
from farpose.evaluation.report.study import Condition, Study


def accuracy(study: Study) -> Section:
    """AP, PCK and OKS by height and by part of the body."""
    blocks: list[Block] = [
        Paragraph(
            "Each number comes with its 95 % interval: what it could be on other pictures "
            f"like these. Below {FEWEST_PEOPLE} people, or {FEWEST_PICTURES} pictures, there is no "
            "number. A person's height is that of the labelled box."
        ),
        Gallery(tuple(plots.by_height(study.models, metric) for metric in ("AP", "PCK@0.2"))),
    ]
    for model in study.models:
        rows: list[tuple[Cell, ...]] = [
            (
                heights(cell.low, cell.high),
                counted(cell.people, cell.pictures),
                *(
                    estimated(cell.estimates.get(metric)) if cell.people else ""
                    for metric in METRICS
                ),
            )
            for cell in model.clean.scores.cells
        ]
        blocks.append(Table(("height", "people", *METRICS), tuple(rows), model.label))
    parts = [
        (part, *(estimated(model.clean.scores.parts.get(part)) for model in study.models))
        for part in PARTS
    ]
    header = ("part", *(model.label for model in study.models))
    blocks.append(Table(header, tuple(parts), "PCK@0.2 by part of the body, left and right"))
    return Section("Accuracy by height", tuple(blocks))


def mistakes(study: Study, examples: int) -> Section:
    """What went wrong, counted, and the worst people drawn."""
    counts = [model.clean.errors for model in study.models]
    labelled = int((counts[0].mistakes != Mistake.UNLABELLED).sum())
    named = [(Mistake.NONE, "correct"), *MEANING.items()]
    rows: list[tuple[Cell, ...]] = [
        (name, *(_share(errors.count(way), labelled) for errors in counts))
        for way, name in named
        if any(errors.count(way) for errors in counts)
    ]
    header = ("labelled joints", *(model.label for model in study.models))
    blocks: list[Block] = [
        Paragraph(
            "A joint is correct within a fifth of the torso. One that is wrong is counted once, "
            "in the first row that fits."
        ),
        Table(header, tuple(rows), f"{labelled} labelled joints of {len(study.dataset)} people"),
        Paragraph(
            "The people with the lowest OKS, at most two of one picture. Left the label, in green; "
            "then the prediction: correct joints blue, wrong ones orange with a yellow line to "
            "where the label is, joints without a label grey. Labels can be wrong too."
        ),
    ]
    for index, model in enumerate(study.models):
        pictures = gallery.worst(model, index, study.dataset, examples)
        if pictures:
            blocks += [Paragraph(f"Worst of {model.label}:"), Gallery(pictures)]
    return Section("What went wrong", tuple(blocks))


def calibration(study: Study) -> Section:
    """Scores and variances against the errors, on frames as they are."""
    pictures = [
        p for index, model in enumerate(study.models) for p in plots.calibration(model, index)
    ]
    return Section(
        "Scores and variances",
        (
            Paragraph(
                "Does a low score, or a large predicted spread, tell that a joint is wrong? Each "
                "dot in the figures is a tenth of the joints."
            ),
            Bullets(_CALIBRATION_TERMS),
            calibration_table(
                [(model.label, model.clean) for model in study.models], "On frames as they are"
            ),
            Gallery(tuple(pictures)),
        ),
    )


def calibration_table(conditions: Sequence[tuple[str, Condition]], caption: str) -> Table:
    """How scores and variances go with errors, a condition each row."""
    rows: list[tuple[Cell, ...]] = []
    for name, condition in conditions:
        found, measured = condition.calibration, condition.calibration.reliability
        if not found.enough:
            rows.append((name, str(measured.joints), *[TOO_FEW] * (3 + len(SIGMAS) + 1)))
            continue
        rows.append(
            (
                name,
                str(measured.joints),
                number(measured.doubt_relative, 2),
                number(found.score_gap, 2),
                number(measured.spread_relative, 2),
                *(number(share, 2) for share in found.within),
                number(found.spread_factor, 2),
            )
        )
    within = tuple(
        f"within {radius:g} σ ({expected:.2f})"
        for radius, expected in zip(SIGMAS, EXPECTED, strict=True)
    )
    header = ("", "joints", "scores: rank", "gap", "spreads: rank", *within, "σ factor")
    return Table(header, tuple(rows), caption)


def _share(count: int, labelled: int) -> Value:
    return Value(f"{100 * count / labelled:.1f} %", str(count))


_CALIBRATION_TERMS = (
    "Rank: Spearman's correlation of 1 - score, or of the predicted spread, with the error, both "
    "as shares of the box. 1: the order is the same; 0: no relation.",
    "Gap: mean distance between a group's mean score and its share of correct joints. 0: scores "
    "are probabilities of being correct. They need not be: a threshold works without.",
    "Within 1 σ and 2 σ: share of the errors inside of the predicted spread. In brackets what it "
    "would be if errors were Gaussian with this spread.",
    "σ factor: what predicted standard deviations must be multiplied by so that half of the errors "
    "lie where half of them should. 2: the errors are twice as large as predicted.",
)
