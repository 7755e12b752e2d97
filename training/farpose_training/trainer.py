"""The loop that trains a SimCC pose model, resumable after any interruption."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from farpose.keypoints import keypoint_set
from farpose_training.checkpoint import (
    SKELETON_KEY,
    load_fitting,
    load_run,
    read_tensors,
    save_model,
    save_run,
)
from farpose_training.config import TrainConfig
from farpose_training.data.augment import Augmenter
from farpose_training.data.loader import Loader
from farpose_training.data.people import load_people
from farpose_training.losses import simcc_loss
from farpose_training.models.network import PoseNet
from farpose_training.optimization import TrainingError, parameter_groups
from farpose_training.validation import Validator


class Trainer:
    """One run: data, network, optimiser and where they are kept.

    After every epoch `last.safetensors` holds all that is needed to go on; `checkpoint.safetensors`
    is the network to use (averaged weights), and `log.jsonl` gets a line per epoch.

    Raises:
        DatasetError, BackboneError, CheckpointError: the configuration names something unusable.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        _seed_everything(config.seed)
        self.joints = keypoint_set(config.keypoint_set)
        self.validator = Validator(config.val, self.joints, config.model)
        people = load_people(config.train, self.joints)
        augmenter = Augmenter(config.augmentation, self.joints, config.model.resolution)
        self.loader = Loader(people, augmenter, config.optimizer.batch_size, config.seed)

        model = self._initial_model()
        # Depthwise convolutions train about four times faster on a CPU in this layout.
        self.model: PoseNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.model,
            avg_fn=_moving_average(config.optimizer.ema_decay),
            use_buffers=True,
        )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.optimizer.weight_decay),
            lr=config.optimizer.learning_rate,
        )
        self.epoch = 0
        self._last = config.output / "last.safetensors"
        if self._last.is_file():
            self._resume()

    def run(self) -> None:
        """Train until the configured number of epochs is done."""
        epochs = self.config.optimizer.epochs
        with tqdm(total=epochs * len(self.loader), initial=self.epoch * len(self.loader)) as bar:
            while self.epoch < epochs:
                record: dict[str, float] = {"epoch": self.epoch + 1}
                record["loss"] = self._train_epoch(bar)
                self.epoch += 1
                if self.epoch % self.config.evaluate_every == 0 or self.epoch == epochs:
                    record |= self.validator(self.average.module)
                self._save(record)
                bar.set_postfix({k: f"{v:.4f}" for k, v in record.items() if k != "epoch"})

    def _train_epoch(self, bar: tqdm[None]) -> float:
        self.model.train()
        losses = []
        for step, batch in enumerate(self.loader.epoch(self.epoch)):
            self._set_learning_rate(self.epoch * len(self.loader) + step)
            total, visible = simcc_loss(
                self.model(batch.crops), batch.keypoints, batch.weights, self.config.model.head
            )
            loss = total / visible.clamp(min=1)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} in epoch {self.epoch + 1}, step {step + 1}: lower "
                    f"optimizer.learning_rate; {self._last} holds the end of epoch {self.epoch}"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
            self.optimizer.step()
            self.average.update_parameters(self.model)
            losses.append(loss.item())
            bar.update()
        return float(np.mean(losses))

    def _set_learning_rate(self, step: int) -> None:
        config = self.config.optimizer
        warmup = config.warmup_epochs * len(self.loader)
        total = config.epochs * len(self.loader)
        if step < warmup:
            factor = (step + 1) / warmup
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor

    def _initial_model(self) -> PoseNet:
        if self.config.init is None:
            return PoseNet(self.config.model, len(self.joints))
        tensors, _ = read_tensors(self.config.init)
        model = PoseNet(self.config.model, len(self.joints), tensors.pop(SKELETON_KEY, None))
        fresh = load_fitting(model, tensors, self.config.init)
        if fresh:
            tqdm.write(f"not in {self.config.init}, trained from scratch: {', '.join(fresh)}")
        return model

    def _save(self, record: dict[str, float]) -> None:
        with (self.config.output / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")
        save_run(self._last, self.model, self.average, self.optimizer, {"epoch": str(self.epoch)})
        facts = {
            "training_data": ", ".join(_source_name(s.annotations) for s in self.config.train),
            "epochs": str(self.epoch),
        }
        facts |= {k: f"{v:.4f}" for k, v in record.items() if k != "epoch"}
        save_model(
            self.config.output / "checkpoint.safetensors", self.average.module, self.joints, facts
        )

    def _resume(self) -> None:
        metadata = load_run(self._last, self.model, self.average, self.optimizer)
        self.epoch = int(metadata["epoch"])


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average whose memory grows with the steps taken, so it never lags the start."""

    def update(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        weight = max(1 - decay, 9 / (10 + float(steps)))
        return averaged.lerp(current, weight) if averaged.is_floating_point() else current

    return update


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _source_name(annotations: Path) -> str:
    return f"{annotations.parent.name}/{annotations.name}"
