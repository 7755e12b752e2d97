from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from farpose.keypoints import COCO17
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
    compare(paths, ["optimizer.batch_size=4"], steps=1, rounds=2)
    machine, header, *rows = capsys.readouterr().out.splitlines()
    assert "torch" in machine
    assert header.split()[:2] == ["configuration", "batch"]
    baseline, distilled = (row.split() for row in rows)
    assert baseline[:2] == ["baseline", "4"]
    assert distilled[:2] == ["distilled", "4"]
    assert len(baseline) == 6
    assert len(distilled) == 7
    assert all(float(value) > 0 for value in distilled[2:])


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
    teacher = TeacherShape(channels=32, cells=64, resolution=256, split_factor=3)
    batch = random_batch(parse_train_config(settings), 17, teacher)
    assert batch.crops.shape == (8, 32, 32, 3)
    assert batch.teacher_feature.shape == (8, 32, 64, 64)
    assert batch.teacher_y.shape == (8, 17, 768)
    torch.testing.assert_close(batch.teacher_x.exp().sum(-1), torch.ones(8, 17))
