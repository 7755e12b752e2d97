"""The loop that fine-tunes the person detector, resumable after any interruption."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from farpose_training.detection.config import DetectorTrainConfig, LabelConfig, parse_config
from farpose_training.detection.data import MosaicDataset, Sample
from farpose_training.detection.export import write_onnx
from farpose_training.detection.inference import model_detector
from farpose_training.detection.labels import (
    PictureLabels,
    label_pictures,
    read_labels,
    write_labels,
)
from farpose_training.detection.losses import Targets, detection_loss
from farpose_training.detection.model import PersonDetector
from farpose_training.detection.sources import SourcePicture, read_sources
from farpose_training.optimization import TrainingError, parameter_groups
from farpose_training.run_state import alone_in, load_run, save_run

BASE_SIZE = 320
"""Pixels of the sample side that `batch_size` counts for."""


def run(config: Mapping[str, Any]) -> None:
    """Label, train and export as `training/configs/person_detector.yaml` says.

    Raises:
        ConfigError: a setting is wrong, or another run is at work in the output folder.
        FileNotFoundError: a file of the data folder is missing.
        TrainingError: the loss is no longer finite.
    """
    settings = parse_config(config)
    with alone_in(settings.output):
        trainer = prepare(settings)
        trainer.run()
    if settings.export_to is not None:
        facts = {"training_steps": str(settings.steps), **settings.facts}
        export(trainer.blended(), settings.export_to, facts)


def prepare(settings: DetectorTrainConfig) -> Trainer:
    """Read the pictures, label them or read the labels, and set up the run or resume it."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    start = load_start(settings.start)
    pictures = list(
        read_sources(
            settings.data,
            lspet_pictures=settings.labels.lspet_pictures,
            video_frames=settings.labels.video_frames,
        )
    )
    labels = _labels(settings, pictures, start)
    return Trainer(settings, start, MosaicDataset(pictures, labels, settings.mosaic, settings.seed))


def load_start(path: Path) -> PersonDetector:
    """The detector in an RTMDet ONNX file or in one of our checkpoints."""
    if path.suffix == ".safetensors":
        return PersonDetector.from_checkpoint(path)
    return PersonDetector.from_onnx(path)


def export(model: PersonDetector, folder: Path, facts: Mapping[str, str]) -> None:
    """Write `checkpoint.safetensors` and `1/model.onnx` of a model folder."""
    facts = {**FACTS, **facts}
    model.save_checkpoint(folder / "checkpoint.safetensors", facts)
    write_onnx(model, folder / "1" / "model.onnx", facts)


FACTS = {
    "name": "person_detector",
    "task": "person detection",
    "class": "person",
    "training_data": "COCO 2017 subset (Flickr CC licences), Leeds Sports Pose Extended "
    "(research use), Intel sample videos (CC BY 4.0); boxes by people and by RTMDet-nano",
    "source_weights": "RTMDet-nano person, OpenMMLab (Apache-2.0)",
    "licence": "Apache-2.0",
    "input_sizes": "640, 416, 320 (longer side, letterboxed; multiples of 32)",
}


class Trainer:
    """Network, its running average, optimiser, and where they are kept.

    Args:
        config: the run.
        model: weights to start from; not changed.
        dataset: where samples come from.
    """

    def __init__(
        self, config: DetectorTrainConfig, model: PersonDetector, dataset: MosaicDataset
    ) -> None:
        self.config = config
        self.dataset = dataset
        # Depthwise convolutions train about four times faster on a CPU in this layout.
        self.model: PersonDetector = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.start = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay), lr=config.learning_rate
        )
        self._modules = {"model": self.model, "average": self.average}
        self.step = 0
        self._last = config.output / "last.safetensors"
        if self._last.is_file():
            self._resume()

    def run(self, until: int | None = None) -> None:
        """Train until the configured number of steps is done, or only up to step `until`."""
        steps = tqdm(
            range(self.step, self.config.steps if until is None else until),
            initial=self.step,
            total=self.config.steps,
            desc="person_detector",
            mininterval=5.0,
        )
        losses: list[tuple[float, float, float]] = []
        for step in steps:
            losses.append(self._train_step(step))
            self.step = step + 1
            if self.step % 20 == 0 or self.step == self.config.steps:
                means = np.mean(losses[-20:], axis=0)
                steps.set_postfix(classification=f"{means[0]:.3f}", boxes=f"{means[1]:.3f}")
                self._log(means)
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self._save()

    def blended(self) -> PersonDetector:
        """Averaged weights, moved back towards the start weights by `1 - blend`."""
        model = copy.deepcopy(self.average)
        with torch.no_grad():
            for value, start in zip(model.parameters(), self.start.parameters(), strict=True):
                value.lerp_(start, 1 - self.config.blend)
        return model

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to 2% of the peak."""
        warmup = min(1.0, (step + 1) / self.config.warmup_steps)
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / self.config.steps)
        return self.config.learning_rate * warmup * cosine

    def _train_step(self, step: int) -> tuple[float, float, float]:
        images, targets = self._batch(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        with torch.no_grad():
            start_logits = self.start(images).logits
        loss = detection_loss(self.model(images), targets, start_logits, self.config.drift_weight)
        if not torch.isfinite(loss.total):
            raise TrainingError(f"the loss of step {step} is not finite: lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return loss.classification.item(), loss.boxes.item(), loss.drift.item()

    def _batch(self, step: int) -> tuple[Tensor, list[Targets]]:
        sizes = self.config.sizes
        rng = np.random.default_rng((self.config.seed, 1, step))
        size = int(rng.choice(list(sizes), p=list(sizes.values())))
        count = max(1, round(self.config.batch_size * (BASE_SIZE / size) ** 2))
        first = step * self.config.batch_size
        samples = [self.dataset.sample(first + index, size) for index in range(count)]
        images = torch.from_numpy(np.stack([sample.image for sample in samples]))
        return images, [as_targets(sample, self.config.labels) for sample in samples]

    def _log(self, means: Sequence[float]) -> None:
        line = {
            "step": self.step,
            "classification": round(float(means[0]), 4),
            "boxes": round(float(means[1]), 4),
            "drift": round(float(means[2]), 4),
            "learning_rate": self.learning_rate(self.step - 1),
        }
        with (self.config.output / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        save_run(self._last, self._modules, [self.optimizer], {"step": str(self.step)})
        self.average.save_checkpoint(
            self.config.output / "checkpoint.safetensors", {**FACTS, "step": str(self.step)}
        )

    def _resume(self) -> None:
        metadata = load_run(self._last, self._modules, [self.optimizer])
        self.step = int(metadata["step"])


def as_targets(sample: Sample, labels: LabelConfig) -> Targets:
    """A sample's labels as tensors, teacher scores turned into certainties."""
    scores = torch.from_numpy(sample.scores)
    certainty = (scores - labels.doubtful) / (labels.sure - labels.doubtful)
    return Targets(
        people=torch.from_numpy(sample.people),
        certainty=certainty.clamp(0.0, 1.0),
        ignored=torch.from_numpy(sample.ignored),
    )


def _labels(
    config: DetectorTrainConfig, pictures: Sequence[SourcePicture], start: PersonDetector
) -> list[PictureLabels]:
    cache = config.output / "labels.json"
    if cache.is_file():
        return read_labels(cache)
    labels = label_pictures(
        pictures,
        model_detector(start, config.threads),
        sizes={
            "coco": config.labels.coco_sizes,
            "lspet": config.labels.lspet_sizes,
            "video": config.labels.video_sizes,
        },
        floor=config.labels.floor,
    )
    write_labels(labels, cache)
    return labels
