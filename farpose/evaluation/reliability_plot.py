"""The reliability of scores and variances as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from farpose.evaluation.reliability import BINS, FRACTION, Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: Final = (".png", ".svg", ".pdf")
"""Endings of the files that can be written."""

_BLUE: Final = "#0072B2"
_GREY: Final = "#777777"


class PlotError(ValueError):
    """The plot cannot be written; the message says why."""


def check_plot(path: Path) -> None:
    """Refuse, before an evaluation has run, a plot that could not be written after it.

    Raises:
        PlotError: the ending is none of `FORMATS`, or the folder is not there.
        ModuleNotFoundError: matplotlib is not installed (extra `evaluate`).
    """
    import matplotlib  # noqa: F401, ICN001 - only whether it is there

    if path.suffix.lower() not in FORMATS:
        raise PlotError(f"{path}: a plot's name ends in {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise PlotError(f"{path}: there is no such folder to write the plot to")


def plot_reliability(result: Reliability, path: Path) -> None:
    """Draw the share of right joints by score, and the error by predicted spread.

    Args:
        result: of one model on one set.
        path: overwritten; its ending says the format.

    Raises:
        PlotError: there are no joints, or the file cannot be written.
        ModuleNotFoundError: matplotlib is not installed (extra `evaluate`).
    """
    from matplotlib.figure import Figure

    if not result.joints:
        raise PlotError(f"{path}: no labelled joint of anybody was predicted: nothing to plot")
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    scores, spreads = figure.subplots(1, 2)
    draw_scores(scores, result)
    draw_spreads(spreads, result)
    figure.suptitle(
        f"{result.joints} joints; each dot is a {_share(result)} of them", fontsize="medium"
    )
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise PlotError(f"{path}: {error.strerror}") from error


def draw_scores(axes: Axes, result: Reliability, color: str = _BLUE) -> None:
    """Draw the share of right joints by score."""
    mean = [b.score for b in result.score_bins]
    right = [b.correct for b in result.score_bins]
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="share = score")
    axes.plot(mean, right, "o-", color=color, label="joints of similar score")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="mean score",
             ylabel=f"share of joints within {FRACTION} torsos")  # fmt: skip
    axes.set_title(f"Spearman of 1 - score and error: {result.doubt_relative:.2f}",
                   fontsize="medium")  # fmt: skip
    _finish(axes)


def draw_spreads(axes: Axes, result: Reliability, color: str = _BLUE) -> None:
    """Draw the quartiles of the error by predicted spread; there must be a joint."""
    spread = np.array([b.spread for b in result.spread_bins])
    median = np.array([b.error for b in result.spread_bins])
    low, high = np.array([b.quartiles for b in result.spread_bins]).T
    end = 1.05 * float(max(spread.max(), high.max()))
    axes.plot([0, end], [0, end], color=_GREY, linewidth=1, linestyle="--", label="error = spread")
    bars: Any = [median - low, high - median]
    axes.errorbar(spread, median, bars, fmt="o-", color=color, ecolor=color, elinewidth=1,
                  label="median error, and its quartiles")  # fmt: skip
    margin = 0.08 * float(np.ptp(spread)) or 0.08 * end
    axes.set(xlim=(spread[0] - margin, spread[-1] + margin), ylim=(0, end),
             xlabel="mean predicted spread / longer side of the box",
             ylabel="error / longer side of the box")  # fmt: skip
    axes.set_title(f"Spearman of spread and error: {result.spread_relative:.2f}",
                   fontsize="medium")  # fmt: skip
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize="small", loc="upper left")


def _share(result: Reliability) -> str:
    return "tenth" if len(result.score_bins) == BINS else f"{len(result.score_bins)}th part"
