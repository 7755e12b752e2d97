"""A run that is stopped at any moment and started again ends as one that was never stopped."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from farpose.keypoints import COCO17
from farpose_training.checkpoint import CheckpointError, read_tensors, save_model, write_tensors
from farpose_training.config import ConfigError, ModelConfig, TrainConfig, parse_train_config
from farpose_training.data.batch import Batch
from farpose_training.loop.progress import Progress
from farpose_training.models import network
from farpose_training.trainer import Trainer, train

EVERY_STEP = {"checkpoint_minutes": 1e-9}
TIMINGS = ("samples_per_second", "waiting_share")


@pytest.fixture
def configure(settings: dict, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Make the configuration of a run in a folder of its own, 12 steps an epoch."""

    def make(name: str, optimizer: dict | None = None, **changes: Any) -> TrainConfig:
        smaller = settings["optimizer"] | {"batch_size": 2, "epochs": 3} | (optimizer or {})
        whole = settings | {"output": str(tmp_path / name), "optimizer": smaller} | changes
        return parse_train_config(whole)

    return make


Configure = Callable[..., TrainConfig]


def curve(config: TrainConfig) -> list[dict[str, float]]:
    """The log, without the timings."""
    lines = (config.output / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMINGS} for x in lines]


def weights(config: TrainConfig) -> dict[str, Tensor]:
    return read_tensors(config.output / "checkpoint.safetensors")[0]


def place(config: TrainConfig) -> tuple[int, int]:
    """The epoch and the step that the kept state is at."""
    _, metadata = read_tensors(config.output / "last.safetensors")
    progress = Progress.from_json(metadata["progress"])
    return progress.epoch, progress.step


def assert_same(one: TrainConfig, other: TrainConfig) -> None:
    assert curve(one) == curve(other)
    assert [record["epoch"] for record in curve(one)] == [1, 2, 3]
    assert weights(one).keys() == weights(other).keys()
    assert all(torch.equal(value, weights(other)[key]) for key, value in weights(one).items())


def stop(config: TrainConfig, epoch: int, step: int) -> None:
    """Train up to a step, whose batch never comes."""
    config.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config)
    original = trainer.loader.epoch

    def batches(number: int, first: int = 0) -> Iterator[Batch]:
        for index, batch in enumerate(original(number, first), first):
            if (number, index) == (epoch, step):
                raise KeyboardInterrupt
            yield batch

    trainer.loader.epoch = batches
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(configure: Configure):
    whole, killed = configure("whole"), configure("killed", runtime=EVERY_STEP)
    train(whole)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["farpose_training.trainer"])
    moments = random.Random(0)
    for enough in (2, 7, 13):
        process = context.Process(target=train, args=(killed,))
        process.start()
        while not (killed.output / "last.safetensors").is_file() or steps(killed) < enough:
            assert process.is_alive(), "it ended before it was killed"
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert enough <= steps(killed) < 36
    train(killed)
    assert_same(killed, whole)


def steps(config: TrainConfig) -> int:
    epoch, step = place(config)
    return 12 * epoch + step


@pytest.fixture
def teacher(settings: dict, tmp_path: Path) -> str:
    """An untrained teacher's checkpoint, at twice the student's resolution."""
    torch.manual_seed(1)
    model = network.PoseNet(ModelConfig.model_validate(settings["model"] | {"resolution": 64}), 17)
    save_model(tmp_path / "teacher.safetensors", model, COCO17, {})
    return str(tmp_path / "teacher.safetensors")


@pytest.mark.parametrize("adversary", ["adam", "sgd"])
def test_distillation_and_its_adversary_go_on_within_an_epoch(
    configure: Configure, teacher: str, adversary: str
):
    temperature = {"kind": "etht", "optimizer": adversary, "learning_rate": 0.1, "learn_beta": True}
    distillation = {"teacher": teacher, "temperature": temperature}
    whole = configure("whole", distillation=distillation)
    stopped = configure("stopped", distillation=distillation, runtime=EVERY_STEP)
    train(whole)
    stop(stopped, epoch=1, step=5)
    assert place(stopped) == (1, 5)
    train(stopped)
    assert_same(stopped, whole)
    assert len({record["tau"] for record in curve(whole)}) == 3


def test_what_is_drawn_in_a_step_is_drawn_again_after_a_resume(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
):
    build = network.build_head
    monkeypatch.setattr(
        network, "build_head", lambda *sizes: nn.Sequential(nn.Dropout(0.5), build(*sizes))
    )
    whole, stopped = configure("whole"), configure("stopped", runtime=EVERY_STEP)
    train(whole)
    stop(stopped, epoch=1, step=7)
    train(stopped)
    assert_same(stopped, whole)


def test_without_an_average_the_last_weights_are_kept_and_resumed(configure: Configure):
    last = {"ema_decay": 0}
    whole, stopped = configure("whole", last), configure("stopped", last, runtime=EVERY_STEP)
    train(whole)
    stop(stopped, epoch=2, step=3)
    train(stopped)
    assert_same(stopped, whole)
    state, _ = read_tensors(whole.output / "last.safetensors")
    key = "head.x.weight"
    assert torch.equal(weights(whole)[key], state[f"objective.student.{key}"])


def test_states_within_an_epoch_are_kept_only_after_some_minutes(configure: Configure):
    config = configure("run")
    stop(config, epoch=1, step=5)
    assert place(config) == (1, 0)


def test_log_and_checkpoint_are_made_again_where_a_kill_came_before_them(configure: Configure):
    whole, killed = configure("whole"), configure("killed")
    train(whole)
    stop(killed, epoch=2, step=0)
    log = killed.output / "log.jsonl"
    first, second = log.read_text().splitlines()
    log.write_text(f"{first}\n{second[:20]}")
    (killed.output / "checkpoint.safetensors").unlink()
    stop(killed, epoch=2, step=0)
    assert log.read_text().splitlines() == [first, second]
    assert (killed.output / "checkpoint.safetensors").is_file()
    log.write_text(f"{first}\n{second}\n{second}\n")
    train(killed)
    assert_same(killed, whole)


def test_a_finished_run_is_left_as_it_is(configure: Configure):
    config = configure("run", {"epochs": 1})
    train(config)
    before = weights(config), (config.output / "log.jsonl").read_text(), place(config)
    train(config)
    after = weights(config), (config.output / "log.jsonl").read_text(), place(config)
    assert after[1:] == before[1:]
    assert all(torch.equal(value, after[0][key]) for key, value in before[0].items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"optimizer": {"epochs": 5}}, "optimizer.epochs was 3 and is 5"),
        ({"augmentation": {"heights": [16, 64]}}, "augmentation.heights.1 was null and is 64.0"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused_by_field(
    configure: Configure, change: dict, message: str
):
    stop(configure("run"), epoch=1, step=0)
    with pytest.raises(ConfigError, match=message):
        train(configure("run", **change))


def test_what_does_not_change_the_result_may_change_on_resuming(configure: Configure):
    whole = configure("whole")
    train(whole)
    config = configure("run", evaluate_every=1)
    stop(config, epoch=2, step=0)
    moved = configure("moved", evaluate_every=5, runtime=EVERY_STEP)
    config.output.rename(moved.output)
    train(moved)
    assert [r["loss"] for r in curve(moved)] == [r["loss"] for r in curve(whole)]
    assert (moved.output / "config.yaml").read_text().count("evaluate_every: 5") == 1


def test_the_state_of_another_version_is_refused_by_name(configure: Configure):
    config = configure("run")
    write_tensors(config.output / "last.safetensors", {"a": torch.zeros(1)}, {"epoch": "3"})
    with pytest.raises(CheckpointError, match=r"last\.safetensors: .*another version of Farpose"):
        train(config)
