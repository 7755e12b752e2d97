"""The figures of a report, each drawn twice: for light pages and for dark ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from farpose.evaluation.reliability_plot import draw_scores, draw_spreads
from farpose.evaluation.report.bootstrap import Estimate
from farpose.evaluation.report.document import TOO_FEW, Picture, heights
from farpose.evaluation.report.study import Condition, Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS: Final = ("#2a8fd0", "#e0731d")
"""Of the first and the second model, readable on light and on dark pages."""

_GREY: Final = "#808891"
_LIGHT: Final = {"face": "#f6f7f9", "ink": "#1b1f24"}
_DARK: Final = {"face": "#1d2127", "ink": "#e6e9ed"}
_DPI: Final = 144
_SMALL: Final = (4.6, 3.3)

_KINDS: Final = {
    "blur": "standard deviation of the blur / px",
    "jpeg": "JPEG quality",
    "noise": "standard deviation of the noise / grey levels",
    "resolution": "size of the frame / original size",
}

_NAMES: Final = {
    "blur": "Gaussian blur",
    "jpeg": "JPEG compression",
    "noise": "Gaussian noise",
    "resolution": "lower resolution",
}


def by_height(models: Sequence[Measured], metric: str) -> Picture:
    """A metric by height, with intervals; bins with too few people say so."""
    cells = models[0].clean.scores.heights

    def draw(axes: Axes) -> None:
        for index, model in enumerate(models):
            shift = (index - (len(models) - 1) / 2) * 0.18
            estimates = [cell.estimates.get(metric) for cell in model.clean.scores.heights]
            _series(axes, np.arange(len(cells)) + shift, estimates, COLORS[index], model.label)
        for place, cell in enumerate(cells):
            if metric not in cell.estimates:
                why = TOO_FEW if cell.people else "nobody"
                axes.text(place, 0.03 * _top(axes), why, rotation=90,
                          ha="center", va="bottom", color=_GREY, fontsize=8)  # fmt: skip
        names = [
            heights(c.low, c.high).removesuffix(" px").replace(" px and more", "+") for c in cells
        ]
        axes.set_xticks(
            range(len(cells)), [f"{n}\n{c.people}" for n, c in zip(names, cells, strict=True)]
        )
        axes.set(ylim=(0, _top(axes)), xlim=(-0.5, len(cells) - 0.5), ylabel=metric,
                 xlabel="height of the person / px, and number of people")  # fmt: skip
        _legend(axes, models)

    name = {"AP": "ap", "PCK@0.2": "pck"}.get(metric, metric.lower())
    return _picture(
        f"{name}_by_height", draw, f"{metric} by the height of people; bars are 95 % intervals."
    )


def calibration(model: Measured, index: int) -> tuple[Picture, ...]:
    """Scores against the share of correct joints, and spreads against errors, if enough people."""
    result = model.clean.calibration.reliability
    if not model.clean.calibration.enough:
        return ()
    suffix = f"_{index + 1}"
    return (
        _picture(
            f"scores{suffix}",
            lambda axes: draw_scores(axes, result, COLORS[index]),
            f"{model.label}: share of correct joints by score. On the dashed line a score would "
            "be a probability.",
        ),
        _picture(
            f"spreads{suffix}",
            lambda axes: draw_spreads(axes, result, COLORS[index]),
            f"{model.label}: error by predicted spread. Above the dashed line the spread is "
            "smaller than the error.",
        ),
    )


def under_degradation(models: Sequence[Measured], metric: str) -> tuple[Picture, ...]:
    """A metric by the strength of each kind of degradation, clean frames first."""
    kinds = dict.fromkeys(c.degradation.kind for c in models[0].degraded if c.degradation)
    return tuple(_of_kind(models, kind, metric) for kind in kinds)


def _of_kind(models: Sequence[Measured], kind: str, metric: str) -> Picture:
    def conditions(model: Measured) -> list[Condition]:
        own = [
            c for c in model.degraded if c.degradation is not None and c.degradation.kind == kind
        ]
        return [model.clean, *own]

    def draw(axes: Axes) -> None:
        steps = [c.degradation for c in conditions(models[0])]
        names = ["as is" if step is None else f"{step.strength:.3g}" for step in steps]
        for index, model in enumerate(models):
            shift = (index - (len(models) - 1) / 2) * 0.08
            estimates = [c.scores.everybody.estimates.get(metric) for c in conditions(model)]
            _series(axes, np.arange(len(names)) + shift, estimates, COLORS[index], model.label)
        axes.set_xticks(range(len(names)), names)
        axes.set(
            ylim=(0, _top(axes)), xlim=(-0.4, len(names) - 0.6), ylabel=metric, xlabel=_KINDS[kind]
        )
        _legend(axes, models)

    text = f"{metric} of everybody under {_NAMES[kind]}; bars are 95 % intervals."
    return _picture(f"degraded_{kind}", draw, text)


def differences(
    name: str,
    text: str,
    groups: Mapping[str, Mapping[str, Estimate]],
    models: tuple[str, str],
) -> Picture:
    """Paired differences with their intervals, a row each.

    Args:
        name: of the picture.
        text: said beside it.
        groups: by metric (at most two), differences by the name of their row.
        models: whose wins lie to the right and to the left of 0.
    """
    from matplotlib.ticker import MaxNLocator

    rows = list(dict.fromkeys(row for group in groups.values() for row in group))

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=_GREY, linewidth=1)
        for index, (metric, group) in enumerate(groups.items()):
            shift = (index - (len(groups) - 1) / 2) * 0.3
            places = [rows.index(row) + shift for row in group]
            _series(axes, places, list(group.values()), COLORS[index], metric, sideways=True)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        reach = max([0.02, *np.abs(axes.get_xlim())])
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        axes.set_xlabel(f"← {models[1]} better      {models[0]} better →")
        if len(groups) > 1:
            axes.legend(frameon=False, fontsize="small", loc="best")

    return _picture(name, draw, text, (_SMALL[0], 1.2 + 0.32 * len(rows)))


def _series(
    axes: Axes,
    places: Any,
    estimates: Sequence[Estimate | None],
    color: str,
    label: str,
    *,
    sideways: bool = False,
) -> None:
    """Points with intervals at places on one axis; those without a number are left out."""
    known = [(p, e) for p, e in zip(places, estimates, strict=True) if e and np.isfinite(e.value)]
    if not known:
        return
    at = np.array([place for place, _ in known])
    values = np.array([estimate.value for _, estimate in known])
    ends = np.array([estimate.interval for _, estimate in known])
    # A percentile interval may leave out the value itself.
    bars: Any = np.maximum(0, np.stack([values - ends[:, 0], ends[:, 1] - values]))
    style: dict[str, Any] = {"color": color, "label": label, "capsize": 2.5, "elinewidth": 1.3}
    if sideways:
        axes.errorbar(values, at, xerr=bars, fmt="o", markersize=4.5, **style)
    else:
        axes.errorbar(at, values, yerr=bars, fmt="o-", markersize=4.5, linewidth=1.3, **style)


def _top(axes: Axes) -> float:
    """Of an axis of shares, with room for the legend."""
    highest = axes.dataLim.y1
    return min(1.02, max(0.1, 1.3 * float(highest))) if np.isfinite(highest) else 1.02


def _legend(axes: Axes, models: Sequence[Measured]) -> None:
    if len(models) > 1 and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small", loc="best")


def _picture(
    name: str,
    draw: Callable[[Axes], None],
    text: str,
    size: tuple[float, float] = _SMALL,
) -> Picture:
    return Picture(name, _png(draw, size, _LIGHT), text, _png(draw, size, _DARK))


def _png(draw: Callable[[Axes], None], size: tuple[float, float], theme: dict[str, str]) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink, face = theme["ink"], theme["face"]
    colors: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink),
        **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), face),
        "axes.edgecolor": _GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9.5,
    }
    with rc_context(colors):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        data = io.BytesIO()
        # No date or version inside: the same report is the same file.
        figure.savefig(data, dpi=_DPI, format="png", metadata={"Software": None})
    return data.getvalue()
