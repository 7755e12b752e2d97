"""Batches out of a view bank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from farpose_training.config import TrainConfig
from farpose_training.data.ahead import made_ahead
from farpose_training.data.bank import Bank
from farpose_training.data.batch import Batch
from farpose_training.data.order import EpochOrder


class BankLoader:
    """All people once per epoch, each in one of their views.

    Args:
        bank: what to read.
        order: in which order.
        config: of the run: its resolution, and what of the teacher's it uses.
    """

    def __init__(self, bank: Bank, order: EpochOrder, config: TrainConfig) -> None:
        self._bank = bank
        self._order = order
        self._resolution = config.model.resolution
        self._distillation = distillation = config.distillation
        self._feature = bank.feature if distillation and distillation.feature else None
        logit = distillation is not None and distillation.logit is not None
        self._x, self._y = (bank.x, bank.y) if logit else (None, None)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._order)

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `first_step` on."""
        rng = np.random.default_rng((self._order.seed, number, 1))
        views = rng.integers(self._bank.weights.shape[1], size=len(self._bank.identities))
        chunks = self._order.epoch(number)[first_step:]
        return made_ahead(lambda chosen: self._read(chosen, views[chosen]), chunks, threads=1)

    def _read(self, chosen: NDArray[np.intp], views: NDArray[np.intp]) -> Batch:
        place = (self._bank.identities[chosen], views)
        compared = self._distillation.compared(len(chosen)) if self._distillation else 0

        def tensor(array: NDArray[Any] | None, count: int) -> torch.Tensor | None:
            if array is None:
                return None
            return torch.from_numpy(array[place[0][:count], place[1][:count]])

        return Batch(
            crops=torch.from_numpy(self._bank.crops[self._resolution][place]),
            keypoints=torch.from_numpy(self._bank.keypoints[place] * np.float32(self._resolution)),
            weights=torch.from_numpy(self._bank.weights[place].astype(np.float32)),
            teacher_feature=tensor(self._feature, compared),
            teacher_x=tensor(self._x, len(chosen)),
            teacher_y=tensor(self._y, len(chosen)),
        )
