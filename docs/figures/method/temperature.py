"""ETHT: the adversary's schedule, and the temperature that it reaches against a fixed student."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from subject import COLORS, STUDENT, TEACHER, seen_by

from farpose_training.config import EasyToHardConfig
from farpose_training.distillation.cca import merge, tempered_divergence
from farpose_training.distillation.etht import Adversary, difficulty

EPOCHS = 40
STEPS = 25
"""Optimiser steps per epoch."""


def _run(optimizer: str, scheduled: bool) -> list[float]:
    """Temperature after each epoch of theta alone; neither network changes.

    Without the schedule xi is 1 from the first epoch on.
    """
    teacher, student = seen_by(TEACHER), seen_by(STUDENT)
    ratio = teacher.probabilities.shape[-1] // student.probabilities.shape[-1]
    expected = merge(torch.from_numpy(teacher.probabilities).log(), ratio, "centered")
    found = torch.from_numpy(student.probabilities).log()
    adversary = Adversary(EasyToHardConfig(kind="etht", optimizer=optimizer), alpha=5.0, beta=1.0)
    steps = adversary.optimizer()
    temperatures = []
    for epoch in range(EPOCHS):
        adversary.start_epoch(epoch if scheduled else EPOCHS, EPOCHS, steps)
        for _ in range(STEPS):
            steps.zero_grad()
            tempered_divergence(expected, found, adversary.tau()).mean().backward()
            steps.step()
        temperatures.append(float(adversary.tau().detach()))
    return temperatures


def adversary() -> Figure:
    """Left: xi. Right: tau."""
    epochs = np.arange(1, EPOCHS + 1)
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for count, style in ((EPOCHS, "-"), (10, "--")):
        xi = [difficulty(epoch, count) for epoch in range(EPOCHS)]
        left.plot(epochs, xi, style, color=COLORS["student"], label=f"N = {count}")
    left.set_ylabel("xi", fontsize=8)
    left.set_title("how hard the adversary may push", fontsize=9)
    right.plot(epochs, _run("adam", True), color=COLORS["student"], label="learning rate times xi")
    right.plot(epochs, _run("adam", False), ":", color=COLORS["label"], label="xi = 1 throughout")
    right.set_ylabel("tau", fontsize=8)
    right.set_title("the temperature against two networks that stay", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False)
    return figure
