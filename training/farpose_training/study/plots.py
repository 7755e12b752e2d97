"""A study's plots: accuracy by person height, training curves, the adversarial temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from farpose.evaluation.shrink import SHRINK_HEIGHTS
from farpose_training.study.comparison import Spread, Table
from farpose_training.study.config import ScoreConfig

Curves = Mapping[tuple[str, str, int], Sequence[Mapping[str, float]]]
"""Per run, what its log says of each epoch."""

COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which colour-blind people tell apart; markers differ too."""

MARKERS = "osD^vPX"
WIDTH, HEIGHT = 4.2, 3.1
"""Of a panel, inches."""


def plot_accuracy(
    tables: Mapping[str, Table], rows: Sequence[str], sets: Sequence[ScoreConfig], path: Path
) -> str:
    """PCK@0.2 by person height, and the paired differences to the baseline, a column per variant.

    Returns:
        What the plot shows; nothing if it was not made, as no set is scored by the shrink protocol.
    """
    shrunk = next((score.name for score in sets if score.shrink), None)
    if shrunk is None:
        return ""
    panels = _Panels(2, list(tables), rows)
    heights = np.asarray(SHRINK_HEIGHTS, float)
    for column, (variant, table) in enumerate(tables.items()):
        for place, row in enumerate(rows):
            names = [f"{shrunk}.shrink.{height}.pck_0.2" for height in SHRINK_HEIGHTS]
            panels.line(0, column, row, heights, _percent([table.of(row, n) for n in names]))
            if row != table.baseline:
                # Side by side, so that the bars can be told apart.
                moved = heights * 1.025 ** (place - len(rows) / 2)
                paired = [table.paired(row, name) for name in names]
                panels.line(1, column, row, moved, _percent(paired), _deviations(paired))
        panels.axes[1][column].axhline(0, color=COLORS[0], linewidth=1)
        for axis in (panels.axes[0][column], panels.axes[1][column]):
            axis.set_xscale("log", base=2)
            axis.set_xticks(heights, [str(height) for height in SHRINK_HEIGHTS])
            axis.minorticks_off()
            axis.set_xlim(0.88 * heights[0], 1.14 * heights[-1])
        panels.label(0, column, variant, "", f"PCK@0.2 on {shrunk} (%)")
        baseline = f"difference to {table.baseline}\n(percentage points)"
        panels.label(1, column, "", "person height in the picture (pixels)", baseline)
    panels.save(path)
    return f"PCK@0.2 by person height on {shrunk}, and the differences to the baseline"


def plot_curves(curves: Curves, variants: Sequence[str], rows: Sequence[str], path: Path) -> str:
    """PCK@0.2 on the validation set and the task loss over epochs, means over seeds."""
    panels = _Panels(2, variants, rows)
    for column, variant in enumerate(variants):
        for row in rows:
            for panel, (name, scale) in enumerate((("pck_0.2", 100), ("task", 1))):
                epochs, means = _means(curves, variant, row, name)
                if len(epochs):
                    panels.line(panel, column, row, epochs, scale * means)
        panels.label(0, column, variant, "", "validation PCK@0.2 (%)")
        panels.label(1, column, "", "epoch", "task loss (training)")
    panels.save(path)
    return "Validation PCK@0.2 and the task loss in training"


def plot_temperature(
    curves: Curves, variants: Sequence[str], rows: Sequence[str], path: Path
) -> str:
    """Temperature and difficulty over epochs, means over seeds.

    Returns:
        What the plot shows; nothing if it was not made, as no row learns its temperature.
    """
    tempered = [row for row in rows if any(len(_means(curves, v, row, "xi")[0]) for v in variants)]
    if not tempered:
        return ""
    panels = _Panels(2, variants, rows)
    for column, variant in enumerate(variants):
        for row in tempered:
            for panel, name in enumerate(("tau", "xi")):
                epochs, means = _means(curves, variant, row, name)
                if len(epochs):
                    panels.line(panel, column, row, epochs, means)
        panels.label(0, column, variant, "", "temperature τ")
        panels.label(1, column, "", "epoch", "difficulty ξ")
    panels.save(path)
    return "Temperature and difficulty over epochs"


class _Panels:
    """A grid of panels with a column per variant and one legend for all.

    Args:
        count: rows of panels.
        variants: columns.
        rows: of the study; they keep their look in all panels.
    """

    def __init__(self, count: int, variants: Sequence[str], rows: Sequence[str]) -> None:
        columns = max(1, len(variants))
        size = (WIDTH * columns + 1.6, HEIGHT * count)
        self._figure = Figure(size, layout="constrained")
        self.axes = self._figure.subplots(count, columns, squeeze=False, sharex=True, sharey="row")
        self._look = {
            row: {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]}
            | {"linestyle": "-" if i < len(COLORS) else "--"}
            for i, row in enumerate(rows)
        }
        for axis in self.axes.flat:
            axis.grid(alpha=0.3)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))

    def line(
        self, panel: int, column: int, row: str, x: Any, y: Any, deviations: Any = None
    ) -> None:
        self.axes[panel][column].errorbar(
            x, y, deviations, label=row, markersize=4, linewidth=1.3, capsize=2, **self._look[row]
        )

    def label(self, panel: int, column: int, title: str, x: str, y: str) -> None:
        axis = self.axes[panel][column]
        axis.set_title(title, fontsize=11)
        axis.set_xlabel(x)
        if column == 0:
            axis.set_ylabel(y)

    def save(self, path: Path) -> None:
        shown = {
            label: handle
            for axis in self.axes.flat
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        order = [row for row in self._look if row in shown]
        handles = [shown[row] for row in order]
        self._figure.legend(handles, order, loc="outside right upper", frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._figure.savefig(path, dpi=110)


def _means(
    curves: Curves, variant: str, row: str, name: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Epochs, and the mean over the seeds that have a number there."""
    by_epoch: dict[int, list[float]] = {}
    for (found_variant, found_row, _), epochs in curves.items():
        if (found_variant, found_row) == (variant, row):
            for epoch in epochs:
                if name in epoch:
                    by_epoch.setdefault(int(epoch["epoch"]), []).append(epoch[name])
    numbers = sorted(by_epoch)
    return np.asarray(numbers), np.asarray([np.mean(by_epoch[number]) for number in numbers])


def _percent(spreads: Sequence[Spread]) -> list[float]:
    return [100 * spread.mean for spread in spreads]


def _deviations(spreads: Sequence[Spread]) -> list[float]:
    return [100 * spread.deviation for spread in spreads]
