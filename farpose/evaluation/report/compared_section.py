"""What a report says of two models side by side."""

from __future__ import annotations

from collections.abc import Mapping

from farpose.evaluation.report import gallery, plots
from farpose.evaluation.report.bootstrap import Estimate
from farpose.evaluation.report.comparing import CLEAR, Comparison
from farpose.evaluation.report.document import (
    Block,
    Bullets,
    Cell,
    Gallery,
    Paragraph,
    Picture,
    Section,
    Table,
    Value,
    counted,
    difference,
    heights,
    listed,
)
from farpose.evaluation.report.scoring import METRICS, PARTS
from farpose.evaluation.report.study import Study

_SHOWN = ("AP", "PCK@0.2")
"""Metrics that the figures show."""


def comparison(study: Study, compared: Comparison, examples: int) -> Section:
    """Paired differences and the people at whom each model is better."""
    first, second = compared.first, compared.second
    blocks: list[Block] = [
        Paragraph(
            f"Differences are {first} less {second}: above 0, {first} is better. They are paired: "
            "both models saw the same people and frames, and the intervals come from the same "
            "draws. Where an interval holds 0, these pictures do not say which is better, and with "
            "many intervals about one in twenty leaves 0 out by chance."
        ),
        Bullets(_summary(compared)),
        Gallery(_figures(compared)),
        _by_height(compared),
        _by_part(compared),
    ]
    if len(compared.conditions) > 1:
        blocks.append(_by_condition(compared))
    drawn = gallery.won(compared, study.models, study.dataset, examples)
    if drawn:
        blocks += [
            Paragraph("The people with the largest differences in OKS, label first:"),
            Gallery(drawn),
        ]
    return Section(f"{first} beside {second}", tuple(blocks))


def _summary(compared: Comparison) -> tuple[str, ...]:
    """Where each model wins, in words."""
    sentences = []
    for name in (compared.first, compared.second):
        for metric in _SHOWN:
            places = _places(compared, metric, name)
            told = "; ".join(f"{what} {listed(names)}" for what, names in places if names)
            if told:
                sentences.append(f"{name} is better by {metric} {told}.")
    if not sentences:
        sentences.append("Neither model is better by AP or PCK@0.2 beyond chance.")
    people = len(compared.similarities)
    sentences.append(
        f"Person by person, {compared.first} has an OKS at least {CLEAR} higher for "
        f"{compared.first_clearly_better} of {people}, {compared.second} for "
        f"{compared.second_clearly_better}."
    )
    return tuple(sentences)


def _places(compared: Comparison, metric: str, name: str) -> tuple[tuple[str, list[str]], ...]:
    """Heights, parts and frames whose interval says that this model is better."""
    clean, *degraded = compared.conditions
    by_height = {heights(p.cell.low, p.cell.high): p.differences.get(metric) for p in clean.cells}
    by_frames = {c.label: c.cells[0].differences.get(metric) for c in degraded}
    by_part = compared.parts if metric == "PCK@0.2" else {}
    groups: tuple[tuple[str, Mapping[str, Estimate | None]], ...] = (
        ("for", by_height),
        ("at the", by_part),
        ("on frames with", by_frames),
    )

    def won(group: Mapping[str, Estimate | None]) -> list[str]:
        return [place for place, e in group.items() if e and compared.winner(e) == name]

    return tuple((what, won(group)) for what, group in groups)


def _figures(compared: Comparison) -> tuple[Picture, ...]:
    models = compared.first, compared.second
    clean = compared.conditions[0].cells
    by_height = {
        metric: {
            heights(p.cell.low, p.cell.high): p.differences[metric]
            for p in clean
            if metric in p.differences
        }
        for metric in _SHOWN
    }
    by_frames = {
        metric: {
            c.label: c.cells[0].differences[metric]
            for c in compared.conditions
            if metric in c.cells[0].differences
        }
        for metric in _SHOWN
    }
    pictures: list[tuple[str, str, Mapping[str, Mapping[str, Estimate]]]] = [
        ("differences_by_height", "Differences by the height of people.", by_height),
        ("differences_by_part", "Differences by part of the body.", {"PCK@0.2": compared.parts}),
    ]
    if len(compared.conditions) > 1:
        text = "Differences on frames as they are and degraded, everybody."
        pictures.append(("differences_by_frames", text, by_frames))
    return tuple(
        plots.differences(name, text, groups, models)
        for name, text, groups in pictures
        if any(groups.values())
    )


def _by_height(compared: Comparison) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            heights(paired.cell.low, paired.cell.high),
            counted(paired.cell.people, paired.cell.pictures),
            *(
                _won(compared, paired.differences.get(metric)) if paired.cell.people else ""
                for metric in METRICS
            ),
        )
        for paired in compared.conditions[0].cells
    ]
    return Table(("height", "people", *METRICS), tuple(rows), "Differences by height")


def _by_part(compared: Comparison) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (part, _won(compared, compared.parts.get(part))) for part in PARTS
    ]
    return Table(("part", "PCK@0.2"), tuple(rows), "Differences by part of the body")


def _by_condition(compared: Comparison) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            condition.label,
            *(_won(compared, condition.cells[0].differences.get(metric)) for metric in METRICS),
        )
        for condition in compared.conditions
    ]
    return Table(("frames", *METRICS), tuple(rows), "Differences on degraded frames, everybody")


def _won(compared: Comparison, found: Estimate | None) -> Value:
    """The difference, and who is better where the interval leaves out 0."""
    value = difference(found)
    winner = None if found is None else compared.winner(found)
    return value if winner is None else Value(value.text, f"{value.detail}: {winner}")
