"""SimCC: a crop, and what the network says of two joints over columns and rows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from subject import COLORS, STUDENT, seen_by

from farpose.simcc import WINDOW_PIXELS, decode, gaussian_labels

JOINTS = {"left_ankle": COLORS["teacher"], "left_wrist": COLORS["student"]}


def distributions() -> Figure:
    """The crop with two joints, their distributions and labels beside and below."""
    seen = seen_by(STUDENT)
    head = seen.network.model.config.head
    factor, sigma = head.split_factor, head.sigma
    resolution = len(seen.crop)
    decoded = decode(seen.probabilities[:1, :], seen.probabilities[1:, :], factor, sigma)
    positions = np.arange(resolution * factor) / factor

    figure = Figure(figsize=(6.6, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(2, 1), height_ratios=(2, 1))
    crop = figure.add_subplot(grid[0, 0])
    columns = figure.add_subplot(grid[1, 0], sharex=crop)
    rows = figure.add_subplot(grid[0, 1], sharey=crop)
    legend = figure.add_subplot(grid[1, 1])

    crop.imshow(seen.crop, extent=(-0.5, resolution - 0.5, resolution - 0.5, -0.5))
    crop.set_title(f"the crop, {resolution}x{resolution} pixels", fontsize=9)
    for name, color in JOINTS.items():
        joint = seen.network.keypoint_set.joints.index(name)
        x, y = decoded.keypoints[0, joint]
        crop.plot(*seen.joints[joint], "x", color="white", markersize=9, markeredgewidth=3)
        crop.plot(*seen.joints[joint], "x", color=color, markersize=8, markeredgewidth=1.6)
        crop.plot(x, y, "o", color="white", markersize=8)
        crop.plot(x, y, "o", color=color, markersize=5.5)
        labels = [
            gaussian_labels(p, resolution, factor, sigma)[0] for p in seen.joints[joint, :, None]
        ]
        for axis, axes in enumerate((columns, rows)):
            lines = ((seen.probabilities[axis, joint], "-"), (labels[axis][0], ":"))
            for values, style in lines:
                pair = (positions, values) if axis == 0 else (values, positions)
                axes.plot(*pair, style, color=color, linewidth=1.4)
            _shade(axes, axis, positions[seen.probabilities[axis, joint].argmax()], color)
        said = f"{name.replace('_', ' ')}\nscore {decoded.scores[0, joint]:.2f}"
        legend.plot([], [], "o", color=color, label=said)
    crop.set_xlim(-0.5, resolution - 0.5)
    crop.set_ylim(resolution - 0.5, -0.5)
    columns.set_xlabel("x, crop pixels", fontsize=8)
    rows.set_xlabel("probability of a bin", fontsize=8)
    columns.set_ylabel("probability\nof a bin", fontsize=8)
    for axes in (crop, columns, rows):
        axes.tick_params(labelsize=7)
    legend.plot([], [], "x", color="black", label="true place")
    legend.plot([], [], "-", color="black", label="the network")
    legend.plot([], [], ":", color="black", label="the label")
    legend.legend(loc="center", fontsize=8, frameon=False)
    legend.axis("off")
    return figure


def _shade(axes: Axes, axis: int, peak: float, color: str) -> None:
    """The window that the expectation is taken over."""
    span = axes.axvspan if axis == 0 else axes.axhspan
    span(peak - WINDOW_PIXELS, peak + WINDOW_PIXELS, color=color, alpha=0.12, linewidth=0)
