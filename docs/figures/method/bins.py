"""CCA: the teacher's bins merged to the student's, and why the order of the two steps matters."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from subject import COLORS, STUDENT, TEACHER, seen_by

from farpose.simcc import gaussian_labels
from farpose_training.distillation.cca import class_ratio, merge
from farpose_training.distillation.teacher import TeacherShape

JOINT = "left_knee"
SMOOTHING = 0.1
"""Of the label that stands for a teacher who is sure."""

TEMPERATURES = np.linspace(1, 21, 41)
"""The range of an adversarial temperature."""

PLACE = 0.5
"""Of the label in the crop, as a share of its side."""

SIGMA = 1.0
"""Of that label in bins of the student: narrow, so that a part of a bin is seen."""

AROUND = 11
"""Student bins shown to each side."""


def _sizes() -> tuple[int, int, int]:
    """The merging ratio m, and the student's resolution and split factor."""
    student = seen_by(STUDENT).network.model.config
    teacher = TeacherShape.of(seen_by(TEACHER).network.model)
    factor = student.head.split_factor
    return class_ratio(teacher, student.resolution, factor), student.resolution, factor


def _merged(probabilities: NDArray[np.float32], ratio: int, align: str) -> NDArray[np.float32]:
    logarithms = torch.from_numpy(np.log(np.maximum(probabilities, 1e-30)))
    return merge(logarithms, ratio, align).exp().numpy()


def merged_bins() -> Figure:
    """Left: one teacher's answer, merged. Right: where merging puts a label."""
    ratio, resolution, factor = _sizes()
    teacher = seen_by(TEACHER)
    joint = teacher.network.keypoint_set.joints.index(JOINT)
    fine = teacher.probabilities[0, joint]
    coarse = _merged(fine, ratio, "centered")
    bins = np.arange(len(coarse))
    middle = int(coarse.argmax())

    figure = Figure(figsize=(7.6, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(
        bins, coarse, 0.92, color=COLORS["student"], alpha=0.35, label=f"merged, {len(bins)} bins"
    )
    left.bar(
        np.arange(len(fine)) / ratio,
        fine,
        0.8 / ratio,
        color=COLORS["teacher"],
        label=f"teacher, {len(fine)} bins",
    )
    left.set_xlim(middle - AROUND, middle + AROUND)
    left.set_xlabel("bin of the student", fontsize=8)
    left.set_ylabel("probability", fontsize=8)
    left.set_title(f"{JOINT.replace('_', ' ')}, columns: m = {ratio}", fontsize=9)

    # A label of the teacher, merged both ways, beside the label that the student is given.
    place = PLACE * resolution
    own = gaussian_labels(np.array(place), resolution, factor, SIGMA)[0]
    teachers = gaussian_labels(np.array(place), resolution, factor * ratio, SIGMA * ratio)[0]
    for side, (align, color) in enumerate(
        (("paper", COLORS["teacher"]), ("centered", COLORS["student"]))
    ):
        merged = _merged(teachers, ratio, align)
        off = round(float(merged @ bins - place * factor), 3) + 0.0
        label = f"{align}: mean {off:+.3f} bins off"
        right.bar(bins + 0.42 * side - 0.21, merged, 0.4, color=color, label=label)
    right.plot(bins, own, "_", color="black", markersize=13, label="the student's label")
    right.axvline(place * factor, color="black", linewidth=0.8, linestyle=":")
    right.set_xlim(round(place * factor) - 4.5, round(place * factor) + 4.5)
    right.set_ylim(0, 1.45 * own.max())
    right.set_xlabel("bin of the student", fontsize=8)
    right.set_title("one label, merged in two ways", fontsize=9)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False)
    return figure


def tempered_bins() -> Figure:
    """How sure the student without loss is of its best bin, for both orders of the two steps."""
    ratio, _, _ = _sizes()
    teacher = seen_by(TEACHER)
    joint = teacher.network.keypoint_set.joints.index(JOINT)
    answer = teacher.probabilities[0, joint]
    label = np.full_like(answer, SMOOTHING / (len(answer) - 1))
    label[len(label) // 2] = 1 - SMOOTHING
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    panels = figure.subplots(1, 2)
    shown = {"a teacher that is sure of one bin": label, "the study's teacher": answer}
    for axes, (title, probabilities) in zip(panels, shown.items(), strict=True):
        fine = torch.from_numpy(np.log(np.maximum(probabilities, 1e-30)))
        merged_first = merge(fine, ratio, "centered")
        best = int(merged_first.argmax())
        tempered_first = [
            t * merge((fine / t).log_softmax(-1), ratio, "centered") for t in TEMPERATURES
        ]
        for order, logits, color in (
            ("merge, then temper", [merged_first] * len(TEMPERATURES), COLORS["student"]),
            ("temper, then merge", tempered_first, COLORS["teacher"]),
        ):
            peaks = [float(each.softmax(-1)[best]) for each in logits]
            style = "-" if color == COLORS["student"] else "--"
            axes.plot(TEMPERATURES, peaks, style, color=color, label=order)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("tau", fontsize=8)
        axes.set_ylim(0, 1.2 * float(merged_first.exp().max()))
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False, loc="center right")
    panels[0].set_ylabel("probability of the best bin\nwhere there is no loss left", fontsize=8)
    return figure
