"""Latency over throughput, a panel for every model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from measure import CLOSED, POISSON
from report import Row

PERCENTILES = {"p50": "#0072b2", "p95": "#d55e00", "p99": "#999999"}
"""And their colours, told apart by colour-blind people too."""


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Write a PNG; loads that were not measured are named in their panel."""
    groups = [
        (model, batch, list(group))
        for (model, batch), group in groupby(rows, lambda r: (r.load.model, r.load.batch))
    ]
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(5.5 * columns, 4 * lines + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, (model, batch, group) in zip(axes, groups, strict=False):
        for name, colour in PERCENTILES.items():
            for kind, style in ((CLOSED, "o-"), (POISSON, "D")):
                points = [
                    (row.measured.throughput, getattr(row.measured, name), row.load.value)
                    for row in group
                    if row.measured is not None and row.load.kind == kind
                ]
                if not points:
                    continue
                x, y, _ = zip(*points, strict=True)
                label = f"{name}, {'concurrency' if kind == CLOSED else 'Poisson arrivals'}"
                filled = colour if kind == CLOSED else "white"
                axis.plot(x, y, style, color=colour, markerfacecolor=filled, ms=5, label=label)
                if kind == CLOSED and name == "p50":
                    for at, latency, value in points:
                        axis.annotate(
                            f"{value:.0f}",
                            (at, latency),
                            textcoords="offset points",
                            xytext=(0, -12),
                            ha="center",
                            fontsize=8,
                        )
        missing = sum(row.measured is None for row in group)
        note = f" ({missing} loads not measured)" if missing else ""
        axis.set_title(model + (f", {batch} in a request" if batch > 1 else "") + note, fontsize=10)
        axis.set_xlabel("requests answered per second")
        axis.set_ylabel("latency, ms")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(left=0)
        axis.margins(y=0.15)
        axis.grid(alpha=0.3, which="both")
    for axis in list(figure.axes)[len(groups) :]:
        axis.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)
