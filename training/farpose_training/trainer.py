"""One training run of a pose model, resumable after any interruption."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import torch
import yaml
from tqdm import tqdm

from farpose.keypoints import KeypointSet, keypoint_set
from farpose_training.checkpoint import (
    SKELETON_KEY,
    load_fitting,
    read_tensors,
    save_model,
)
from farpose_training.config import TrainConfig, annotated
from farpose_training.data.loader import build_loader
from farpose_training.data.people import load_people
from farpose_training.distillation.teacher import Teacher, load_teacher
from farpose_training.loop.processes import share_of_batch, start_fabric
from farpose_training.loop.progress import Progress, Record
from farpose_training.loop.records import RunLog
from farpose_training.loop.schedule import seed_everything
from farpose_training.loop.step import Learner
from farpose_training.models.network import PoseNet
from farpose_training.objective import Objective
from farpose_training.optimization import TrainingError
from farpose_training.public_checkpoints import is_public, public_tensors
from farpose_training.run_state import alone_in, load_run, refuse_other_settings, save_run
from farpose_training.validation import METRICS, Validator


class Trainer:
    """One run: data, what is learned, and where they are kept.

    `last.safetensors` holds all that is needed to go on and is written after every epoch, and every
    few minutes within one. The other files follow from it: `checkpoint.safetensors` is the network
    to use (averaged weights), `log.jsonl` has a line per epoch. `config.yaml` says what was asked.

    Raises:
        DatasetError, BackboneError, CheckpointError, ConfigError: the configuration names
            something unusable, or the output folder holds a run with other settings.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.fabric = start_fabric(config.runtime)
        share_of_batch(config.optimizer.batch_size, self.fabric.world_size)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self._last = config.output / "last.safetensors"
        if self._last.is_file():
            _, metadata = read_tensors(self._last)
            refuse_other_settings(self._last, metadata.get("config"), config)

        self.joints = keypoint_set(config.keypoint_set)
        teacher = _teacher(config, self.joints, self.fabric.device)
        shape = teacher.shape if teacher else None
        # What does not fit is refused before crops are made, which may take hours. The first
        # weights follow from the seed alone, not from what was made before.
        seed_everything(config.seed)
        objective = Objective(self._initial_model(), config.distillation, shape)
        if self.fabric.is_global_zero:
            self.log = RunLog(config.output, tensorboard=config.runtime.tensorboard)
            self.validator = Validator(config.val, self.joints, config.model)
        # A view bank holds what the teacher says: it is not asked again.
        self.teacher = teacher if config.bank is None else None
        self.loader = build_loader(
            config,
            partial(load_people, config.train, self.joints, config.runtime.picture_memory_gb),
            self.joints,
            self.teacher.shape.resolution if self.teacher else None,
            self.fabric.global_rank,
            self.fabric.world_size,
            self.fabric.device,
        )
        self.learner = Learner(objective, config, self.fabric, len(self.loader))
        self.progress = Progress()
        self._modules: dict[str, torch.nn.Module] = {"objective": self.learner.objective}
        if self.learner.average is not None:
            self._modules["average"] = self.learner.average
        if self._last.is_file():
            metadata = load_run(self._last, self._modules, self.learner.optimizers)
            self.progress = Progress.from_json(metadata["progress"])

    def run(self) -> None:
        """Train until the configured number of epochs is done."""
        epochs, steps, progress = self.config.optimizer.epochs, len(self.loader), self.progress
        first = self.fabric.is_global_zero
        if first:
            settings = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
            (self.config.output / "config.yaml").write_text(settings)
            self._publish()
        done = progress.epoch * steps + progress.step
        with tqdm(total=epochs * steps, initial=done, disable=not first) as bar:
            while progress.epoch < epochs:
                record = self._train_epoch(bar)
                number = progress.epoch + 1
                if first and (number % self.config.evaluate_every == 0 or number == epochs):
                    record |= self.validator(self.learner.network)
                progress.end_epoch(record)
                if first:
                    self._save()
                    self._publish()
                    shown = {k: f"{record[k]:.4f}" for k in ("loss", *METRICS) if k in record}
                    bar.set_postfix(shown)
        if first:
            self.log.close()

    def _train_epoch(self, bar: tqdm[None]) -> Record:
        """Take the steps of the epoch that are not done yet, and return its log record."""
        learner, progress, steps = self.learner, self.progress, len(self.loader)
        learner.start_epoch(progress.epoch)
        taken, waited = steps - progress.step, 0.0
        started = saved = time.perf_counter()
        batches = iter(self.loader.epoch(progress.epoch, progress.step))
        ratios: dict[str, float] = {}
        while progress.step < steps:
            before = time.perf_counter()
            batch = next(batches).to(self.fabric.device)
            waited += time.perf_counter() - before
            if self.teacher is not None:
                with self.fabric.autocast():
                    batch = self.teacher.annotate(batch)
            last = progress.step + 1 == steps
            due = time.perf_counter() - saved >= 60 * self.config.runtime.checkpoint_minutes
            try:
                result = learner.step(
                    batch,
                    progress.epoch,
                    progress.step,
                    checkpoint_due=due and self.fabric.is_global_zero,
                    ratios=last,
                )
            except TrainingError as error:
                raise TrainingError(f"{error}; {self._kept()}") from error
            progress.losses.append(result.losses)
            bar.update()
            ratios = result.gradient_ratios
            if result.checkpoint_due and not last:
                saved = time.perf_counter()
                if self.fabric.is_global_zero:
                    self._save()
        seconds = time.perf_counter() - started
        return {
            "epoch": progress.epoch + 1,
            **progress.means(),
            "learning_rate": learner.learning_rate,
            **learner.objective.state(),
            **{f"{name}_gradient_ratio": value for name, value in ratios.items()},
            "samples_per_second": taken * self.config.optimizer.batch_size / seconds,
            "waiting_share": waited / seconds,
        }

    def _save(self) -> None:
        """Keep all that is needed to go on from here."""
        metadata = {"config": self.config.model_dump_json(), "progress": self.progress.to_json()}
        save_run(self._last, self._modules, self.learner.optimizers, metadata)

    def _publish(self) -> None:
        """Write the files that follow from the state, also where a run was killed before it could.

        Within an epoch the averaged weights are not those of its start: the checkpoint stays.
        """
        epoch, records = self.progress.epoch, self.progress.records
        self.log.write(records)
        if epoch == 0 or self.progress.step > 0:
            return
        files = [annotated(source).annotations for source in self.config.train]
        sources = [f"{file.parent.name}/{file.name}" for file in files]
        facts = {"training_data": ", ".join(sources), "epochs": str(epoch)}
        record = records[-1]
        facts |= {name: f"{record[name]:.4f}" for name in ("loss", *METRICS) if name in record}
        path = self.config.output / "checkpoint.safetensors"
        save_model(path, self.learner.network, self.joints, facts)

    def _initial_model(self) -> PoseNet:
        config = self.config
        if config.init is None:
            return PoseNet(config.model, len(self.joints))
        if is_public(config.init):
            tensors = public_tensors(config.init)
        else:
            tensors, _ = read_tensors(config.init)
        model = PoseNet(config.model, len(self.joints), tensors.pop(SKELETON_KEY, None))
        fresh = load_fitting(model, tensors, config.init)
        if fresh and self.fabric.is_global_zero:
            tqdm.write(f"not in {config.init}, trained from scratch: {', '.join(fresh)}")
        return model

    def _kept(self) -> str:
        """What is left of a run that failed."""
        if not self._last.is_file():
            return "nothing was kept yet"
        _, metadata = read_tensors(self._last)
        return f"{self._last} holds {Progress.from_json(metadata['progress'])}"


def _teacher(config: TrainConfig, joints: KeypointSet, device: torch.device) -> Teacher | None:
    if config.distillation is None:
        return None
    settings = config.distillation
    return load_teacher(settings.teacher, joints, settings.teacher_model, device)


def train(config: TrainConfig) -> Path | None:
    """Run one training, and return its checkpoint; in all processes but the first, none.

    Raises:
        ConfigError: see `Trainer`, or another run is at work in the output folder.
        TrainingError: it cannot go on.
    """
    with alone_in(config.output):
        trainer = Trainer(config)
        trainer.run()
    return config.output / "checkpoint.safetensors" if trainer.fabric.is_global_zero else None
