"""Batches of augmented crops, made one ahead of the training step in a background thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from farpose_training.data.augment import Augmenter
from farpose_training.data.batch import Batch
from farpose_training.data.people import TrainingPeople


class Loader:
    """All people once per epoch, in an order and with augmentation fixed by seed and epoch.

    Args:
        people: what to draw from.
        augmenter: how.
        batch_size: samples per batch; the last incomplete batch is dropped.
        seed: the run's seed.
    """

    def __init__(
        self, people: TrainingPeople, augmenter: Augmenter, batch_size: int, seed: int
    ) -> None:
        if len(people) < batch_size:
            raise ValueError(f"{len(people)} people do not fill one batch of {batch_size}")
        self._people = people
        self._augmenter = augmenter
        self._batch_size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        return len(self._people) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        order = np.random.default_rng((self._seed, number)).permutation(len(self._people))
        chunks = order[: len(self) * self._batch_size].reshape(len(self), self._batch_size)
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            upcoming = pool.submit(self._make, number, chunks[0])
            for following in [*chunks[1:], None]:
                batch = upcoming.result()
                if following is not None:
                    upcoming = pool.submit(self._make, number, following)
                yield batch

    def _make(self, epoch: int, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Batch:
        people = self._people
        samples = [
            self._augmenter(
                people.pictures[people.picture_index[i]],
                people.boxes[i],
                people.keypoints[i],
                np.random.default_rng((self._seed, epoch, int(i))),
            )
            for i in chosen
        ]
        return Batch(
            crops=torch.from_numpy(np.stack([s.crop for s in samples])),
            keypoints=torch.from_numpy(np.stack([s.keypoints for s in samples])),
            weights=torch.from_numpy(np.stack([s.weights for s in samples])),
        )
