"""Several processes train as one."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch

from farpose.keypoints import COCO17
from farpose_training.checkpoint import read_tensors, save_model
from farpose_training.config import ModelConfig, TrainConfig, parse_train_config
from farpose_training.models.network import PoseNet
from farpose_training.trainer import train


def train_as(config: TrainConfig, environment: dict[str, str]) -> None:
    """One of the processes that torchrun would start."""
    os.environ.update(environment)
    train(config)


def train_in_two_processes(config: TrainConfig) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["farpose_training.trainer"])
    processes = [
        context.Process(
            target=train_as, args=(config, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        )
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]


def log(config: TrainConfig) -> list[dict[str, float]]:
    return [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("distilled", [False, True])
def test_two_processes_have_the_losses_of_one_with_the_same_batches(
    settings: dict, tmp_path: Path, distilled: bool
):
    frozen = {"batch_size": 8, "epochs": 2, "learning_rate": 1e-4, "freeze_batch_norm": True}
    # Crops that miss many joints: the processes' shares then have unequal numbers of them.
    changes: dict = {"optimizer": frozen, "augmentation": {"shift": 0.4}}
    if distilled:
        torch.manual_seed(1)
        larger = settings["model"] | {"resolution": 64}
        save_model(
            tmp_path / "teacher.safetensors",
            PoseNet(ModelConfig.model_validate(larger), 17),
            COCO17,
            {},
        )
        changes["distillation"] = {
            "teacher": str(tmp_path / "teacher.safetensors"),
            "feature": {"kind": "fully_connected"},
            "temperature": {"kind": "etht"},
        }
    alone, shared = (
        parse_train_config(settings | changes | {"output": str(tmp_path / name)})
        for name in ("alone", "shared")
    )
    train(alone)
    train_in_two_processes(shared)
    one, two = log(alone), log(shared)
    assert len(two) == len(one) == 2
    losses = {"loss", "task"} | ({"feature", "logit"} if distilled else set())
    for name in losses:
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one], abs=1e-5), name
    # Adam enlarges the rounding of a gradient as small as that of the temperature.
    for name in {"tau", "logit_gradient_ratio", "feature_gradient_ratio"} & one[0].keys():
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one], rel=1e-3), name
    expected = read_tensors(alone.output / "checkpoint.safetensors")[0]
    found = read_tensors(shared.output / "checkpoint.safetensors")[0]
    for name, value in expected.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)
