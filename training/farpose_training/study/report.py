"""A study's report: Markdown, a summary in CSV and plots, made from its results alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from farpose_training.study.comparison import Table
from farpose_training.study.config import ScoreConfig, StudyConfig
from farpose_training.study.grid import expand, scores_of
from farpose_training.study.plots import plot_accuracy, plot_curves, plot_temperature
from farpose_training.study.results import LAST, Ledger, Result, StudyError
from farpose_training.study.scoring import score_columns
from farpose_training.study.tables import (
    height_tables,
    markdown,
    score_table,
    shrink_tables,
    summary_csv,
    training_table,
)


def sets_of(study: StudyConfig) -> tuple[ScoreConfig, ...]:
    """What every run of a study is scored on."""
    return scores_of(study, expand(study)[0].config)


def write_report(study: StudyConfig, ledger: Ledger) -> Path:
    """Write `report.md`, `summary.csv` and the plots beside the results.

    Returns:
        The report.

    Raises:
        StudyError: no run is finished.
    """
    runs = expand(study)
    keys = {run.key for run in runs}
    results = [result for result in ledger.results() if result.key in keys]
    if not results:
        raise StudyError(f"{ledger.path}: no run of the study is finished yet")
    folder, sets = ledger.path.parent, scores_of(study, runs[0].config)
    tables = {
        variant: Table([r for r in results if r.variant == variant], study.baseline)
        for variant in study.variants or {"": {}}
        if any(r.variant == variant for r in results)
    }
    rows = [row for row in study.rows if any(r.row == row for r in results)]
    plots = {
        "accuracy.png": plot_accuracy(tables, rows, sets, folder / "accuracy.png"),
        "curves.png": plot_curves(ledger.curves(), list(tables), rows, folder / "curves.png"),
        "temperature.png": plot_temperature(
            ledger.curves(), list(tables), rows, folder / "temperature.png"
        ),
    }
    columns = [*LAST, *score_columns(sets)]
    (folder / "summary.csv").write_text(summary_csv(tables, rows, columns))
    parts = [f"# {study.title}", _preamble(study, results, len(runs))]
    for variant, table in tables.items():
        parts += _variant(variant, table, [row for row in rows if table.seeds(row)], sets)
    parts += ["## Plots", *(f"![{text}]({name})" for name, text in plots.items() if text)]
    parts += ["## Machine", _machine(results)]
    report = folder / "report.md"
    report.write_text("\n\n".join(parts) + "\n")
    return report


def _variant(
    variant: str, table: Table, rows: Sequence[str], sets: Sequence[ScoreConfig]
) -> list[str]:
    prefix = f"{variant}: " if variant else ""
    parts = []
    for score in sets:
        parts += [f"## {prefix}{score.name}", score_table(table, rows, score.name, score.boxes)]
        if score.shrink:
            parts += [
                f"### {prefix}{score.name}, people shrunk to a height, labelled boxes",
                shrink_tables(table, rows, score.name),
            ]
        parts += [
            f"### {prefix}{score.name}, people by their height, {score.boxes[0]} boxes",
            height_tables(table, rows, score.name, score.boxes[0]),
        ]
    return [*parts, f"## {prefix}end of training", training_table(table, rows)]


def _preamble(study: StudyConfig, results: Sequence[Result], total: int) -> str:
    scored = (
        f"one picture in {study.holdout} of the training sets, which no run was trained on"
        if study.holdout
        else "sets that no run was trained on"
    )
    return (
        f"{len(results)} of {total} runs are finished: {len(study.rows)} rows, seeds "
        f"{', '.join(map(str, study.seeds))}, {_lengths(results)}. Rows of one seed share "
        "the order of samples and their augmentation. Every run is scored once, after its last "
        f"epoch, on {scored}.\n\n"
        "Scores are percentages: the mean over seeds ± the sample standard deviation. A difference"
        f" is to `{study.baseline}` of the same seed; `better` counts the seeds where it is above "
        "zero. `truth` crops people by labelled boxes, `detected` by those of a detector, where "
        "people without one count as wrong."
    )


def _lengths(results: Sequence[Result]) -> str:
    epochs: dict[str, str] = {}
    for result in results:
        epochs.setdefault(result.variant, result.facts["epochs"])
    if len(set(epochs.values())) == 1:
        return f"{epochs.popitem()[1]} epochs each"
    return ", ".join(f"{count} epochs at {variant}" for variant, count in epochs.items())


def _machine(results: Sequence[Result]) -> str:
    columns = {
        "machine": "processor",
        "cores": "cores",
        "threads": "threads per run",
        "precision": "precision",
        "torch": "PyTorch",
    }
    kinds: dict[tuple[str, ...], list[float]] = {}
    for result in results:
        place = tuple(result.facts[name] for name in columns)
        kinds.setdefault(place, []).append(float(result.facts["seconds"]))
    header = (*columns.values(), "runs", "median minutes per run")
    lines = [
        [*place, str(len(seconds)), f"{statistics.median(seconds) / 60:.1f}"]
        for place, seconds in kinds.items()
    ]
    return markdown(header, lines)
