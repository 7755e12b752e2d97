"""Who is seen when: one order for all processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class EpochOrder:
    """A permutation of the people per epoch, fixed by the seed; processes take their shares of it.

    Args:
        people: how many there are.
        batch_size: of all processes together; the last incomplete batch is dropped.
        seed: the run's.
        rank: which of the processes this is.
        world: how many there are; `batch_size` is a multiple.
    """

    def __init__(
        self, people: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.seed = seed
        self._people = people
        self._batch_size = batch_size
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self._people // self._batch_size

    def epoch(self, number: int) -> NDArray[np.intp]:
        """`[steps, batch_size / world]` this process's people of every step."""
        order = np.random.default_rng((self.seed, number)).permutation(self._people)
        batches = order[: len(self) * self._batch_size].reshape(len(self), self._world, -1)
        return batches[:, self._rank]
