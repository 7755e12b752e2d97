"""A view bank of noise, in a configuration's shapes, that is read as a real one is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farpose_training.config import TrainConfig
from farpose_training.data.bank import Bank
from farpose_training.data.bank_loader import BankLoader
from farpose_training.data.batch import Batch
from farpose_training.data.order import EpochOrder
from farpose_training.distillation.teacher import TeacherShape

VIEWS = 2

BATCHES = 4
"""Batches of people in the bank."""


def random_bank(folder: Path, config: TrainConfig, joints: int, teacher: TeacherShape) -> Bank:
    """Write a bank into a folder, and map it."""
    rng = np.random.default_rng(0)
    side = config.model.resolution
    people = BATCHES * config.optimizer.batch_size

    def array(name: str, content: NDArray[Any]) -> Any:
        path = folder / f"{name}.npy"
        np.save(path, content)
        return np.load(path, mmap_mode="r")

    def said(name: str, *shape: int) -> Any:
        values = rng.standard_normal((people, VIEWS, *shape), np.float32)
        if name != "feature":
            values -= np.log(np.exp(values).sum(-1, keepdims=True))
        return array(name, values.astype(np.float16))

    bins = () if teacher.split_factor is None else (joints, teacher.bins)
    return Bank(
        identities=np.arange(people),
        crops={
            side: array("crops", rng.integers(0, 256, (people, VIEWS, side, side, 3), np.uint8))
        },
        keypoints=array("keypoints", rng.random((people, VIEWS, joints, 2), np.float32)),
        weights=array("weights", np.ones((people, VIEWS, joints), np.uint8)),
        feature=said("feature", teacher.channels, teacher.cells, teacher.cells),
        x=said("x", *bins) if bins else None,
        y=said("y", *bins) if bins else None,
    )


def bank_batches(bank: Bank, config: TrainConfig) -> Iterator[Batch]:
    """Batches without end; what the configuration does not use of the teacher is not read."""
    order = EpochOrder(len(bank.identities), config.optimizer.batch_size, config.seed)
    loader = BankLoader(bank, order, config)
    return chain.from_iterable(loader.epoch(number) for number in count())
