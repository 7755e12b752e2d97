"""Batches of augmented crops, made ahead of the training step in background threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from farpose.keypoints import KeypointSet
from farpose_training.config import ConfigError, TrainConfig
from farpose_training.data.ahead import made_ahead
from farpose_training.data.augment import Augmenter, render, render_for_teacher
from farpose_training.data.bank import BankLoader, open_bank
from farpose_training.data.batch import Batch
from farpose_training.data.order import EpochOrder
from farpose_training.data.people import TrainingPeople


def build_loader(
    config: TrainConfig,
    load: Callable[[], TrainingPeople],
    joints: KeypointSet,
    teacher_resolution: int | None,
    rank: int = 0,
    world: int = 1,
) -> Loader | BankLoader:
    """The batches of a run: new views in every epoch, or those of its view bank.

    Args:
        config: of the run.
        load: reads whom to draw from; not called where a finished bank has them.
        joints: what the network predicts.
        teacher_resolution: of the teacher's crops, where a teacher runs in the step.
        rank: which of the processes this is.
        world: how many there are.

    Raises:
        ConfigError: there are too few people, or the bank was made of something else.
    """
    augmenter = Augmenter(config.augmentation, joints)
    if config.bank is not None:
        bank = open_bank(config, load, augmenter, joints)
        return BankLoader(bank, _order(config, len(bank.identities), rank, world), config)
    people = load()
    order = _order(config, len(people), rank, world)
    # One core is the training step's own.
    threads = max(1, (config.threads or torch.get_num_threads()) - 1)
    return Loader(people, augmenter, order, config.model.resolution, teacher_resolution, threads)


def _order(config: TrainConfig, people: int, rank: int, world: int) -> EpochOrder:
    batch_size = config.optimizer.batch_size
    if people < batch_size:
        raise ConfigError(
            f"optimizer.batch_size: {people} people do not fill one batch of {batch_size}"
        )
    return EpochOrder(people, batch_size, config.seed, rank, world)


class Loader:
    """All people once per epoch, with augmentation fixed by seed, epoch and person.

    Args:
        people: whom to draw from.
        augmenter: how they are looked at.
        order: in which order.
        resolution: of the student's crops.
        teacher_resolution: of the teacher's; None for none.
        threads: that make batches.
    """

    def __init__(
        self,
        people: TrainingPeople,
        augmenter: Augmenter,
        order: EpochOrder,
        resolution: int,
        teacher_resolution: int | None = None,
        threads: int = 1,
    ) -> None:
        self._people = people
        self._augmenter = augmenter
        self._order = order
        self._resolution = resolution
        self._teacher_resolution = teacher_resolution
        self._threads = threads

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._order)

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `first_step` on."""
        chunks = self._order.epoch(number)[first_step:]
        return made_ahead(lambda chosen: self._make(number, chosen), chunks, self._threads)

    def _make(self, epoch: int, chosen: NDArray[np.intp]) -> Batch:
        people, crops, teacher_crops = self._people, [], []
        joints, weights = [], []
        for person in chosen:
            rng = np.random.default_rng((self._order.seed, epoch, int(person)))
            picture = people.pictures[people.picture_index[person]]
            view = self._augmenter.draw(people.boxes[person], people.keypoints[person], rng)
            crops.append(render(picture, view, self._resolution))
            if self._teacher_resolution is not None:
                teacher_crops.append(render_for_teacher(picture, view, self._teacher_resolution))
            points, labelled = self._augmenter.joints(
                view, people.keypoints[person], self._resolution
            )
            joints.append(points)
            weights.append(labelled)
        return Batch(
            crops=torch.from_numpy(np.stack(crops)),
            keypoints=torch.from_numpy(np.stack(joints)),
            weights=torch.from_numpy(np.stack(weights)),
            teacher_crops=torch.from_numpy(np.stack(teacher_crops)) if teacher_crops else None,
        )
