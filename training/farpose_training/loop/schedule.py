"""The learning rate over a run, and the seed of each step: pure functions of the step's place."""

from __future__ import annotations

import math
import random

import numpy as np
import torch

from farpose_training.config import OptimizerConfig


def learning_rate_factor(config: OptimizerConfig, step: int, steps_per_epoch: int) -> float:
    """What the configured learning rate is multiplied by in step `step` of the run (from 0).

    A linear warm-up, then either a cosine that ends at zero after the last epoch, or a tenth after
    each milestone.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "step":
        epoch = step // steps_per_epoch
        return float(0.1 ** sum(epoch >= milestone for milestone in config.milestones))
    total = config.epochs * steps_per_epoch
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, of every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def step_seed(*place: int) -> int:
    """A seed for one step, from the run's seed, the epoch, the step and the process.

    A step whose randomness depends on nothing but its place is the same after a resume, without
    the states of all generators on all devices being kept.
    """
    return int(np.random.SeedSequence(place).generate_state(1)[0])
