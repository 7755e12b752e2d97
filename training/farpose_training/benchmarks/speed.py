"""How fast training configurations run, beside a plain PyTorch loop over the same network.

`python -m farpose_training.benchmarks.speed CONFIG [CONFIG...]` needs no data: people, pictures and
what a teacher says are random, in the configuration's shapes. Distillation is measured from a view
bank, beside the same student that learns from the same bank without a teacher. Everything that is
compared takes turns, round by round, and ratios are medians over rounds.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from lightning_fabric import Fabric

from farpose.benchmarks.machine import this_machine
from farpose.keypoints import KeypointSet, keypoint_set
from farpose_training.benchmarks.random_bank import bank_batches, random_bank
from farpose_training.checkpoint import load_model
from farpose_training.config import SimCCConfig, TrainConfig, parse_train_config, read_yaml
from farpose_training.data.batch import Batch
from farpose_training.data.loader import build_loader
from farpose_training.data.people import TrainingPeople
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.loop.processes import precision_on, start_fabric
from farpose_training.loop.schedule import seed_everything
from farpose_training.loop.step import Learner
from farpose_training.losses import task_loss
from farpose_training.models.network import PoseNet
from farpose_training.module_command import run
from farpose_training.objective import Objective

PICTURE_SIZE = 240
"""Side of the random pictures in pixels."""

ROUND_STEPS = 1_000_000
"""More steps than a benchmark takes: the schedule stays within one epoch."""

COLUMNS = (
    "configuration",
    "precision",
    "batch",
    "plain, samples/s",
    "loop, samples/s",
    "loop / plain",
    "loop on one batch / plain",
    "distilled, samples/s",
    "time distilled / baseline",
)
"""Of the table; the last two are for configurations that distil."""

EXPLANATION = (
    "`plain` is a bare PyTorch loop over the same network on one batch in memory; `loop` is "
    "`farpose train` with cropping and augmentation, beside it as a share of its samples per "
    "second. `distilled` reads a view bank; its time per step is given over that of the same "
    "student without a teacher from the same bank (medians over rounds in which all take turns)."
)

Step = Callable[[], None]


def random_people(count: int, joints: KeypointSet, seed: int = 0) -> TrainingPeople:
    """People of random joints in pictures of noise."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(10, 60, (count, 2))
    high = low + rng.uniform(80, 160, (count, 2))
    points = rng.uniform(low[:, None], high[:, None], (count, len(joints), 2))
    keypoints = np.concatenate([points, np.full((count, len(joints), 1), 2.0)], axis=-1)
    return TrainingPeople(
        [rng.integers(0, 256, (PICTURE_SIZE,) * 2 + (3,), np.uint8) for _ in range(count)],
        np.arange(count),
        np.concatenate([low, high], axis=1),
        keypoints.astype(np.float32),
        (count,),
    )


def random_batch(config: TrainConfig, joints: int) -> Batch:
    """A batch of noise."""
    generator = torch.Generator().manual_seed(0)
    size, side = config.optimizer.batch_size, config.model.resolution
    return Batch(
        crops=torch.randint(0, 256, (size, side, side, 3), generator=generator, dtype=torch.uint8),
        keypoints=torch.rand(size, joints, 2, generator=generator) * (side - 1),
        weights=torch.ones(size, joints),
    )


def seconds_per_step(
    contestants: Mapping[str, Step], steps: int, rounds: int, synchronize: Step
) -> dict[str, list[float]]:
    """Per contestant, the mean seconds of its steps in each round; all take turns in a round."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for step in contestants.values():
        step()
    for _ in range(rounds):
        for name, step in contestants.items():
            synchronize()
            before = time.perf_counter()
            for _ in range(steps):
                step()
            synchronize()
            found[name].append((time.perf_counter() - before) / steps)
    return found


def median_ratio(found: Mapping[str, list[float]], name: str, beside: str) -> float:
    """Seconds of one contestant over those of another in the same round."""
    return statistics.median(a / b for a, b in zip(found[name], found[beside], strict=True))


def contestants_of(config: TrainConfig, folder: Path) -> dict[str, Step]:
    """Everything that is measured of a configuration.

    `plain` is a bare PyTorch loop on one batch in memory, `memory` the training loop's steps on it,
    and `loop` the training loop with cropping and augmentation. Where the configuration distils,
    `distilled` and `baseline` are its steps from a view bank, with and without a teacher.

    Args:
        config: of a run.
        folder: an empty one, for the bank.
    """
    fabric = start_fabric(config.runtime)
    joints = keypoint_set(config.keypoint_set)
    seed_everything(config.seed)
    student = PoseNet(config.model, len(joints))
    batch = random_batch(config, len(joints)).to(fabric.device)

    def alone(batches: Iterator[Batch]) -> Step:
        return _learner_step(config, Objective(copy.deepcopy(student)), batches, fabric)

    contestants = {
        "plain": _plain_step(config, copy.deepcopy(student), batch, fabric),
        "memory": alone(itertools.repeat(batch)),
        "loop": alone(_batches(config)),
    }
    if config.distillation is not None:
        shape = _teacher_shape(config, student)
        bank = random_bank(folder, config, len(joints), shape)
        without = config.model_copy(update={"distillation": None})
        objective = Objective(student, config.distillation, shape)
        contestants["baseline"] = alone(bank_batches(bank, without))
        contestants["distilled"] = _learner_step(
            config, objective, bank_batches(bank, config), fabric
        )
    return contestants


def _plain_step(config: TrainConfig, student: PoseNet, batch: Batch, fabric: Fabric) -> Step:
    student.to(fabric.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6)

    def step() -> None:
        with fabric.autocast():
            prediction = student(batch.crops)
            total, visible = task_loss(
                prediction, batch.keypoints, batch.weights, config.model.head
            )
        optimizer.zero_grad(set_to_none=True)
        (total / visible).backward()
        optimizer.step()

    return step


def _learner_step(
    config: TrainConfig, objective: Objective, batches: Iterator[Batch], fabric: Fabric
) -> Step:
    learner = Learner(objective, config, fabric, ROUND_STEPS)
    learner.start_epoch(0)
    places = itertools.count()

    def step() -> None:
        learner.step(next(batches).to(fabric.device), 0, next(places))

    return step


def _batches(config: TrainConfig) -> Iterator[Batch]:
    joints = keypoint_set(config.keypoint_set)
    people = random_people(4 * config.optimizer.batch_size, joints)
    loader = build_loader(config.model_copy(update={"bank": None}), lambda: people, joints, None)
    return itertools.chain.from_iterable(loader.epoch(number) for number in itertools.count())


def _teacher_shape(config: TrainConfig, student: PoseNet) -> TeacherShape:
    """Of the configured teacher, or if it is not there, of one like the student at 256x256."""
    if config.distillation is not None and config.distillation.teacher.is_file():
        return TeacherShape.of(load_model(config.distillation.teacher).model)
    head = config.model.head
    return TeacherShape(
        channels=student.backbone.channels,
        cells=64,
        resolution=256,
        split_factor=head.split_factor if isinstance(head, SimCCConfig) else None,
    )


def compare(
    configs: Annotated[list[Path], typer.Argument(help="Configurations of `farpose train`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one setting of all of them.", metavar="KEY=VALUE"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per turn.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 7,
    output: Annotated[Path | None, typer.Option(help="A file for the table too.")] = None,
) -> None:
    """Time training configurations beside a plain PyTorch loop, and what distillation costs."""
    settings = {path: parse_train_config(read_yaml(path, overrides or ())) for path in configs}
    threads = next(iter(settings.values())).threads
    if threads is not None:
        torch.set_num_threads(threads)
    machine = f"{this_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    lines = [
        "# Speed of training",
        f"Made by `make bench-training`. {machine}.",
        EXPLANATION,
        f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}",
    ]
    typer.echo("\n\n".join(lines))
    rows = []
    for path, config in settings.items():
        rows.append(f"| {' | '.join(_measured(path.stem, config, steps, rounds))} |")
        typer.echo(rows[-1])
    if output is not None:
        output.write_text("\n\n".join(lines) + "\n" + "\n".join(rows) + "\n")


def _measured(name: str, config: TrainConfig, steps: int, rounds: int) -> list[str]:
    """A row of the table."""
    device = start_fabric(config.runtime).device.type
    synchronize: Step = torch.cuda.synchronize if device == "cuda" else lambda: None
    with tempfile.TemporaryDirectory() as folder:
        contestants = contestants_of(config, Path(folder))
        found = seconds_per_step(contestants, steps, rounds, synchronize)
    size = config.optimizer.batch_size
    precision = precision_on(device, config.runtime.precision).partition("-")[0]
    values = [name, precision, str(size)]
    values += [f"{size / statistics.median(found[name]):.1f}" for name in ("plain", "loop")]
    values += [f"{median_ratio(found, 'plain', name):.3f}" for name in ("loop", "memory")]
    if "distilled" not in found:
        return [*values, "", ""]
    values.append(f"{size / statistics.median(found['distilled']):.1f}")
    return [*values, f"{median_ratio(found, 'distilled', 'baseline'):.3f}"]


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(compare)
    run(app, "farpose_training.benchmarks.speed")
