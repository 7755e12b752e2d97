"""Batches of augmented crops, made ahead of the training step in background threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from farpose.keypoints import KeypointSet
from farpose_training.config import ConfigError, TrainConfig
from farpose_training.data.ahead import made_ahead
from farpose_training.data.augment import Augmenter
from farpose_training.data.bank import open_bank
from farpose_training.data.bank_loader import BankLoader
from farpose_training.data.batch import Batch
from farpose_training.data.order import EpochOrder
from farpose_training.data.people import TrainingPeople
from farpose_training.data.rendering import Renderer, renderer_for

CPU = torch.device("cpu")


def build_loader(
    config: TrainConfig,
    load: Callable[[], TrainingPeople],
    joints: KeypointSet,
    teacher_resolution: int | None,
    rank: int = 0,
    world: int = 1,
    device: torch.device = CPU,
) -> Loader | BankLoader:
    """The batches of a run: new views in every epoch, or those of its view bank.

    Args:
        config: of the run.
        load: reads whom to draw from; not called where a finished bank has them.
        joints: what the network predicts.
        teacher_resolution: of the teacher's crops, where a teacher runs in the step.
        rank: which of the processes this is.
        world: how many there are.
        device: of the networks; a GPU makes the crops too if the pictures fit into its memory.

    Raises:
        ConfigError: there are too few people, or the bank was made of something else.
    """
    augmenter = Augmenter(config.augmentation, joints)

    def load_enough() -> TrainingPeople:
        people = load()
        _refuse_few(config, len(people))  # before hours of rendering
        return people

    if config.bank is not None:
        bank = open_bank(config, load_enough, augmenter, joints, device)
        return BankLoader(bank, _order(config, len(bank.identities), rank, world), config)
    people = load()
    order = _order(config, len(people), rank, world)
    # One core is the training step's own.
    threads = max(1, (config.threads or torch.get_num_threads()) - 1)
    renderer = renderer_for(people, device)
    resolutions = config.model.resolution, teacher_resolution
    return Loader(people, augmenter, renderer, order, *resolutions, threads)


def _order(config: TrainConfig, people: int, rank: int, world: int) -> EpochOrder:
    _refuse_few(config, people)
    return EpochOrder(people, config.optimizer.batch_size, config.seed, rank, world)


def _refuse_few(config: TrainConfig, people: int) -> None:
    batch_size = config.optimizer.batch_size
    if people < batch_size:
        raise ConfigError(
            f"optimizer.batch_size: {people} people do not fill one batch of {batch_size}"
        )


class Loader:
    """All people once per epoch, with augmentation fixed by seed, epoch and person.

    Args:
        people: whom to draw from.
        augmenter: how they are looked at.
        renderer: of their pictures.
        order: in which order.
        resolution: of the student's crops.
        teacher_resolution: of the teacher's; None for none.
        threads: that make batches.
    """

    def __init__(
        self,
        people: TrainingPeople,
        augmenter: Augmenter,
        renderer: Renderer,
        order: EpochOrder,
        resolution: int,
        teacher_resolution: int | None = None,
        threads: int = 1,
    ) -> None:
        self._people = people
        self._augmenter = augmenter
        self._renderer = renderer
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
        people = self._people
        views, samples = [], []
        for person in chosen:
            rng = np.random.default_rng((self._order.seed, epoch, int(person)))
            keypoints = people.keypoints[person]
            views.append(self._augmenter.draw(people.boxes[person], keypoints, rng))
            samples.append(self._augmenter.joints(views[-1], keypoints, self._resolution))
        points, labelled = zip(*samples, strict=True)
        pictures = people.picture_index[chosen]
        larger = self._teacher_resolution
        return Batch(
            crops=self._renderer.student(pictures, views, self._resolution),
            keypoints=torch.from_numpy(np.stack(points)),
            weights=torch.from_numpy(np.stack(labelled)),
            teacher_crops=self._renderer.teacher(pictures, views, larger) if larger else None,
        )
