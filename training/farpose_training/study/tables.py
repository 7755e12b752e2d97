"""A study's results as Markdown and CSV tables. Scores are percentages, `mean ± deviation`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence

from farpose.evaluation.shrink import SHRINK_HEIGHTS
from farpose_training.study.comparison import Spread, Table
from farpose_training.study.scoring import height_names

NOTHING = "-"
TRUTH_TITLES = {"PCK@0.2": "pck_0.2", "PCK@0.5": "pck_0.5", "AP": "AP", "AR": "AR"}
DETECTED_TITLES = {"PCK@0.2": "pck_0.2", "AP": "AP"}
SUMMARY = ("variant", "row", "column", "n", "mean", "deviation", "difference", "its_deviation")


def percent(values: Spread, *, signed: bool = False) -> str:
    """`41.23 ± 0.40`, without the deviation of a single value."""
    if not values.values:
        return NOTHING
    sign = "+" if signed else ""
    mean = f"{100 * values.mean:{sign}.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * values.deviation:.2f}"


def number(values: Spread) -> str:
    """The mean, in three digits."""
    return f"{values.mean:.3g}" if values.values else NOTHING


def score_table(table: Table, rows: Sequence[str], name: str, boxes: Sequence[str]) -> str:
    """One set's totals, and PCK@0.2 compared with the baseline seed by seed."""
    scores = [
        (f"{b} {title}", f"{name}.{b}.{column}")
        for b in boxes
        for title, column in (TRUTH_TITLES if b == "truth" else DETECTED_TITLES).items()
    ]
    main = f"{name}.{boxes[0]}.pck_0.2"
    header = [
        "row",
        "seeds",
        *(title for title, _ in scores),
        f"difference of {boxes[0]} PCK@0.2",
        "better",
    ]
    lines = []
    for row in rows:
        cells = [percent(table.of(row, column)) for _, column in scores]
        lines.append([row, str(len(table.seeds(row))), *cells, *_compared(table, row, main)])
    return markdown(header, lines)


def shrink_tables(table: Table, rows: Sequence[str], name: str) -> str:
    """PCK@0.2 of people shrunk to each height, and the differences to the baseline."""
    columns = {f"{height} px": f"{name}.shrink.{height}" for height in SHRINK_HEIGHTS}
    return _by_column(table, rows, columns)


def height_tables(table: Table, rows: Sequence[str], name: str, boxes: str) -> str:
    """PCK@0.2 by how tall people are in the pictures, and the differences to the baseline."""
    columns = {}
    for height in height_names():
        people = table.of(table.baseline, f"{name}.{boxes}.{height}.people")
        if people.values and people.mean > 0:
            label = f"{height.replace('-inf', ' and more')} px ({people.mean:.0f} people)"
            columns[label] = f"{name}.{boxes}.{height}"
    return _by_column(table, rows, columns)


def training_table(table: Table, rows: Sequence[str]) -> str:
    """Losses, temperature, weights and gradient ratios at the end, means over seeds."""
    columns = {
        "task loss": "task",
        "feature loss": "feature",
        "logit loss": "logit",
        "tau": "tau",
        "alpha": "alpha",
        "beta": "beta",
        "feature/task gradient": "feature_gradient_ratio",
        "logit/task gradient": "logit_gradient_ratio",
    }
    lines = [[row, *(number(table.of(row, c)) for c in columns.values())] for row in rows]
    return markdown(["row", *columns], lines)


def summary_csv(tables: dict[str, Table], rows: Sequence[str], columns: Sequence[str]) -> str:
    """Every column's mean, deviation and paired difference, one line each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY)
    for variant, table in tables.items():
        for row in rows:
            for column in columns:
                own, paired = table.of(row, column), table.paired(row, column)
                if own.values:
                    values = (own.mean, own.deviation, paired.mean, paired.deviation)
                    cells = [f"{v:.6g}" if math.isfinite(v) else "" for v in values]
                    writer.writerow([variant, row, column, len(own), *cells])
    return out.getvalue()


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and the others are numbers."""
    rules = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rules, *lines))


def _compared(table: Table, row: str, column: str) -> list[str]:
    if row == table.baseline:
        return ["baseline", NOTHING]
    paired = table.paired(row, column)
    return [
        percent(paired, signed=True),
        f"{paired.positive} of {len(paired)}" if len(paired) else NOTHING,
    ]


def _by_column(table: Table, rows: Sequence[str], columns: dict[str, str]) -> str:
    def lines(cell: Callable[[str, str], str], among: Sequence[str]) -> list[list[str]]:
        return [[r, *(cell(r, f"{c}.pck_0.2") for c in columns.values())] for r in among]

    own = lines(lambda row, column: percent(table.of(row, column)), rows)
    others = [row for row in rows if row != table.baseline]
    differences = lines(lambda row, column: percent(table.paired(row, column), signed=True), others)
    parts = [markdown(["PCK@0.2", *columns], own)]
    if differences:
        parts.append(markdown(["difference to the baseline", *columns], differences))
    return "\n\n".join(parts)
