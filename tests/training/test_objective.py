from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from farpose_training.config import (
    ConfigError,
    DistillationConfig,
    ModelConfig,
    OptimizerConfig,
)
from farpose_training.data.batch import Batch
from farpose_training.distillation.teacher import Teacher
from farpose_training.models.network import PoseNet
from farpose_training.objective import Objective

HRNET = {"kind": "timm", "name": "hrnet_w18_small"}
STUDENT = {"backbone": HRNET, "resolution": 32, "head": {"kind": "simcc", "split_factor": 2}}
TEACHER = {"backbone": HRNET, "resolution": 64, "head": {"kind": "simcc", "split_factor": 3}}
ETHT = {"kind": "etht", "learning_rate": 0.01}


def network(settings: dict[str, Any]) -> PoseNet:
    torch.manual_seed(0)
    return PoseNet(ModelConfig.model_validate(settings), joints=5)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(network(TEACHER))


@pytest.fixture(scope="module")
def batch(teacher: Teacher) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def crops(size: int) -> torch.Tensor:
        return torch.randint(0, 255, (4, size, size, 3), generator=generator, dtype=torch.uint8)

    keypoints = 32 * torch.rand(4, 5, 2, generator=generator)
    seen = Batch(crops(32), keypoints, torch.ones(4, 5), teacher_crops=crops(64))
    return teacher.annotate(seen)


def objective(teacher: Teacher, student: dict[str, Any] = STUDENT, **changes: Any) -> Objective:
    config = DistillationConfig.model_validate({"teacher": "teacher.safetensors"} | changes)
    return Objective(network(student), config, teacher.shape)


def test_the_feature_loss_reaches_the_students_backbone_and_every_projector(
    teacher: Teacher, batch: Batch
):
    whole = objective(teacher)
    whole(batch).terms["feature"].backward()
    assert whole.student.backbone.net.conv1.weight.grad.abs().sum() > 0
    for projector in whole.feature.projectors:
        assert projector.linear.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in teacher.network.parameters())


def test_the_logit_loss_reaches_the_student(teacher: Teacher, batch: Batch):
    whole = objective(teacher)
    whole(batch).terms["logit"].backward()
    assert whole.student.backbone.net.conv1.weight.grad.abs().sum() > 0
    assert whole.student.head.x.weight.grad.abs().sum() > 0


def test_everything_that_learns_is_in_an_optimiser_and_nothing_of_the_teacher(teacher: Teacher):
    whole = objective(teacher, temperature=ETHT)
    held = {
        id(p)
        for optimizer in whole.optimizers(OptimizerConfig())
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert held == {id(p) for p in whole.parameters()}
    assert id(whole.adversary.theta) in held
    assert all(id(p) in held for p in whole.feature.parameters())
    assert not held & {id(p) for p in teacher.network.parameters()}


def test_one_step_moves_theta_up_the_logit_loss_and_the_student_down(
    teacher: Teacher, batch: Batch
):
    whole = objective(teacher, temperature=ETHT)
    optimizers = whole.optimizers(OptimizerConfig(learning_rate=1e-4))
    whole.start_epoch(5, 10, optimizers)
    before = whole(batch).terms["logit"].item()
    student = {k: v.clone() for k, v in whole.student.state_dict().items()}
    whole(batch).total.backward()
    for optimizer in optimizers:
        optimizer.step()
    assert whole.state()["xi"] == pytest.approx(0.5)
    assert whole.adversary.theta.item() != 1.0
    moved = whole.student.state_dict()
    assert not torch.equal(moved["head.x.weight"], student["head.x.weight"])
    whole.student.load_state_dict(student)  # the same student, only theta has moved
    assert whole(batch).terms["logit"].item() > before


def test_the_total_is_the_weighted_sum(teacher: Teacher, batch: Batch):
    losses = objective(teacher, alpha=3.0, beta=0.5)(batch)
    terms = losses.terms
    expected = terms["task"] + 3.0 * terms["feature"] + 0.5 * terms["logit"]
    assert losses.total.item() == pytest.approx(expected.item())


def test_a_share_of_the_batch_is_compared_with_the_teachers_features(
    teacher: Teacher, batch: Batch
):
    whole = objective(teacher, feature_share=0.5).eval()
    found = whole(batch)
    with torch.no_grad():
        feature = whole.student.feature(batch.crops)
        expected = whole.feature(feature[:2], batch.teacher_feature[:2])
    assert found.terms["feature"].item() == pytest.approx(expected.item())
    # Everything else is of the whole batch, and a bank that holds no more gives the same.
    everything = objective(teacher).eval()(batch)
    assert found.terms["task"].item() == pytest.approx(everything.terms["task"].item())
    assert found.terms["logit"].item() == pytest.approx(everything.terms["logit"].item())
    read = replace(batch, teacher_feature=batch.teacher_feature[:2])
    assert whole(read).total.item() == pytest.approx(found.total.item())


def test_the_mean_over_shares_is_the_feature_loss_of_the_batch(teacher: Teacher, batch: Batch):
    net = objective(teacher).eval()
    with torch.no_grad():
        feature = net.student.feature(batch.crops)
        parts = [
            net.feature(feature[few], batch.teacher_feature[few]) for few in (slice(2), slice(2, 4))
        ]
        whole = net.feature(feature, batch.teacher_feature)
    assert (sum(parts) / 2).item() == pytest.approx(whole.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("share", "samples", "compared"),
    [(1.0, 64, 64), (0.25, 64, 16), (0.3, 8, 3), (0.01, 64, 2), (0.01, 1, 1)],
)
def test_at_least_two_samples_are_compared(share: float, samples: int, compared: int):
    config = DistillationConfig(teacher="teacher.safetensors", feature_share=share)
    assert config.compared(samples) == compared


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"feature": None}, {"task", "logit"}),
        ({"logit": None}, {"task", "feature"}),
        ({"feature": {"kind": "conv_downsample"}}, {"task", "feature", "logit"}),
        ({"feature": {"kind": "fully_connected"}}, {"task", "feature", "logit"}),
        ({"logit": {"kind": "fully_connected"}}, {"task", "feature", "logit"}),
    ],
)
def test_each_part_can_be_switched_and_replaced(
    teacher: Teacher, batch: Batch, changes: dict[str, Any], terms: set[str]
):
    losses = objective(teacher, **changes)(batch)
    assert set(losses.terms) == terms
    assert torch.isfinite(losses.total)


def test_without_a_teacher_only_the_task_is_learned(batch: Batch):
    losses = Objective(network(STUDENT))(batch)
    assert set(losses.terms) == {"task"}
    assert losses.total is losses.terms["task"]


def test_one_sample_is_enough_to_compute_losses_in_eval_mode(teacher: Teacher, batch: Batch):
    one = Batch(*(getattr(batch, name)[:1] for name in Batch.__dataclass_fields__))
    assert torch.isfinite(objective(teacher).eval()(one).total)


def test_a_visible_count_shared_by_two_processes_scales_the_loss(teacher: Teacher, batch: Batch):
    whole = objective(teacher).eval()
    alone = whole(batch).terms
    shared = whole(batch, lambda count: count * 2).terms
    assert shared["task"].item() == pytest.approx(alone["task"].item() / 2)
    assert shared["logit"].item() == pytest.approx(alone["logit"].item() / 2)
    assert shared["feature"].item() == pytest.approx(alone["feature"].item())


def test_class_counts_that_do_not_fit_are_refused(teacher: Teacher):
    odd = STUDENT | {"head": {"kind": "simcc", "split_factor": 5}}
    with pytest.raises(ConfigError, match="no multiple of the student's 160"):
        objective(teacher, odd)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature": None, "logit": None}, "nothing is distilled"),
        ({"logit": None, "temperature": ETHT}, "etht tempers the logit distillation"),
        ({"feature": None, "temperature": ETHT | {"learn_alpha": True}}, "learn_alpha"),
        ({"feature": None, "feature_share": 0.5}, "feature_share: there is no feature"),
        ({"feature": {"kind": "sape", "kernels": [4]}}, "odd sizes"),
    ],
)
def test_settings_without_effect_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        DistillationConfig.model_validate({"teacher": "t.safetensors"} | changes)
