from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from farpose.keypoints import COCO17
from farpose_training.benchmarks.random_bank import bank_batches, random_bank
from farpose_training.benchmarks.speed import (
    compare,
    median_ratio,
    random_batch,
    random_people,
    seconds_per_step,
)
from farpose_training.config import parse_train_config
from farpose_training.distillation.teacher import TeacherShape


def test_a_baseline_and_a_distillation_are_timed_beside_a_plain_loop(
    settings: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paths = [tmp_path / "baseline.yaml", tmp_path / "distilled.yaml"]
    paths[0].write_text(yaml.safe_dump(settings))
    paths[1].write_text(yaml.safe_dump(settings | {"distillation": {"teacher": "none"}}))
    written = tmp_path / "speed.md"
    compare(paths, ["optimizer.batch_size=4"], steps=1, rounds=2, output=written)
    assert written.read_text() == capsys.readouterr().out
    header, _, *rows = [line for line in written.read_text().splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (header, *rows)]
    names, baseline, distilled = cells
    assert names[:3] == ["configuration", "precision", "batch"]
    assert baseline[:3] == ["baseline", "32", "4"]
    assert baseline[-2:] == ["", ""]
    assert distilled[:3] == ["distilled", "32", "4"]
    assert all(float(value) > 0 for value in [*baseline[3:-2], *distilled[3:]])


def test_all_take_turns_in_every_round():
    order: list[str] = []
    contestants = {name: (lambda n=name: order.append(n)) for name in ("a", "b")}
    found = seconds_per_step(contestants, steps=2, rounds=2, synchronize=lambda: None)
    assert "".join(order) == "ab" + "aabb" * 2
    assert [len(times) for times in found.values()] == [2, 2]


def test_ratios_are_taken_within_a_round():
    found = {"a": [2.0, 30.0, 4.0], "b": [1.0, 10.0, 4.0]}
    assert median_ratio(found, "a", "b") == 2.0


def test_random_people_and_batches_have_the_shapes_of_real_ones(settings: dict):
    people = random_people(5, COCO17)
    assert len(people) == 5
    assert people.keypoints.shape == (5, 17, 3)
    assert (people.keypoints[..., :2] >= people.boxes[:, None, :2]).all()
    batch = random_batch(parse_train_config(settings), 17)
    assert batch.crops.shape == (8, 32, 32, 3)
    assert batch.keypoints.shape == (8, 17, 2)


def test_a_random_bank_is_read_like_a_real_one(settings: dict, tmp_path: Path):
    config = parse_train_config(settings | {"distillation": {"teacher": "none"}})
    teacher = TeacherShape(channels=32, cells=64, resolution=256, split_factor=3)
    bank = random_bank(tmp_path, config, 17, teacher)
    assert isinstance(bank.feature, np.memmap)
    batch = next(bank_batches(bank, config))
    assert batch.crops.shape == (8, 32, 32, 3)
    assert batch.teacher_feature.shape == (8, 32, 64, 64)
    assert batch.teacher_feature.dtype == torch.float16
    assert batch.teacher_y.shape == (8, 17, 768)
    torch.testing.assert_close(
        batch.teacher_x.float().exp().sum(-1), torch.ones(8, 17), atol=1e-2, rtol=0
    )
    alone = config.model_copy(update={"distillation": None})
    assert next(bank_batches(bank, alone)).teacher_feature is None
