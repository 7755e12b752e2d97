from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose_training.config import ConfigError, LogitConfig
from farpose_training.distillation.cca import (
    LogitDistiller,
    class_ratio,
    merge,
    tempered_divergence,
)
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.models.simcc import Logits

TEACHER = TeacherShape(channels=4, cells=64, resolution=256, split_factor=3)


@given(
    ratio=st.integers(1, 12),
    align=st.sampled_from(["paper", "centered"]),
    bins=st.integers(2, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_merging_keeps_the_mass(ratio: int, align: str, bins: int, seed: int):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (2, bins * ratio)))
    merged = merge(logits.log_softmax(-1), ratio, align)
    assert merged.shape == (2, bins)
    assert merged.exp().sum(-1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 8, 12])
def test_a_certain_teacher_is_certain_of_the_same_position(ratio: int):
    for bin_ in range(7):
        certain = torch.full((7 * ratio,), -math.inf)
        certain[bin_ * ratio] = 0.0
        assert merge(certain, ratio, "centered").argmax().item() == bin_
        assert merge(certain, ratio, "centered").max().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("ratio", [4, 5, 12])
def test_centered_groups_keep_the_mean_and_the_papers_shift_it(ratio: int):
    # A smooth distribution around student bin 20.3.
    positions = torch.arange(40 * ratio, dtype=torch.float64) / ratio
    log_p = (-((positions - 20.3) ** 2) / (2 * 2.5**2)).log_softmax(-1)
    mean = {
        align: float((merge(log_p, ratio, align).exp() * torch.arange(40)).sum())
        for align in ("centered", "paper")
    }
    assert mean["centered"] == pytest.approx(20.3, abs=1e-6)
    assert mean["paper"] == pytest.approx(20.3 - (ratio - 1) / (2 * ratio), abs=1e-6)


def test_the_bin_between_two_groups_counts_half_for_each():
    p = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    # Bin 0 takes teacher bin 0 and half of 1; bin 1 takes the other half of 1, then 2 and 3.
    assert merge(p, 2, "centered").exp().tolist() == pytest.approx([0.2, 0.8])
    assert merge(p, 2, "paper").exp().tolist() == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0, 21.0])
@pytest.mark.parametrize("align", ["centered", "paper"])
def test_a_student_with_the_teachers_logits_has_no_loss_at_any_temperature(tau: float, align: str):
    rng = np.random.default_rng(3)
    teacher = torch.from_numpy(rng.normal(0, 4, (2, 5, 48 * 4))).log_softmax(-1)
    merged = merge(teacher, 4, align)
    student = Logits(merged + 7.3, merged - 2.0)
    shape = TeacherShape(channels=1, cells=16, resolution=64, split_factor=3)
    distiller = LogitDistiller(LogitConfig(align=align), shape, resolution=16, split_factor=3)
    loss = distiller(student, Logits(teacher, teacher), torch.ones(2, 5), torch.tensor(tau))
    # The divergence itself: the square of the temperature multiplies what FP32 rounds in it.
    assert loss.item() / tau**2 == pytest.approx(0, abs=1e-6)


def test_tempering_before_merging_makes_the_best_student_too_flat():
    # A teacher trained with smooth labels: 0.8 in one of 256 bins, the others share the rest.
    ratio, tau = 4, 10.0
    teacher = torch.full((256,), 0.2 / 255)
    teacher[120] = 0.8
    # The student without a loss has these logits, up to a constant.
    merged_first = merge(teacher.log(), ratio, "centered")
    tempered_first = tau * merge((teacher.log() / tau).log_softmax(-1), ratio, "centered")
    assert merged_first.softmax(-1).max().item() == pytest.approx(0.80, abs=0.01)
    assert tempered_first.softmax(-1).max().item() < 0.3
    for order, expected in (
        ("merge_then_temper", merged_first),
        ("temper_then_merge", tempered_first),
    ):
        shape = TeacherShape(channels=1, cells=16, resolution=64, split_factor=4)
        config = LogitConfig(order=order)
        distiller = LogitDistiller(config, shape, resolution=16, split_factor=4)
        given_ = Logits(*(teacher.log()[None, None] for _ in "xy"))
        found = Logits(*(expected[None, None] for _ in "xy"))
        loss = distiller(found, given_, torch.ones(1, 1), torch.tensor(tau))
        assert loss.item() == pytest.approx(0, abs=1e-3), order


def test_the_divergence_is_weighted_by_the_squared_temperature():
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(4, 30, generator=generator) for _ in range(2))
    tau = 4.0
    kl = torch.nn.functional.kl_div(
        (student / tau).log_softmax(-1), (teacher / tau).softmax(-1), reduction="none"
    )
    found = tempered_divergence(teacher, student, torch.tensor(tau))
    torch.testing.assert_close(found, 16 * kl.sum(-1))


def test_gradients_of_the_temperature_pass_through_both_distributions():
    tau = torch.tensor(3.0, requires_grad=True)
    teacher = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    student = torch.randn(4, 30, generator=torch.Generator().manual_seed(1))
    tempered_divergence(teacher, student, tau).sum().backward()
    step = 1e-3
    above = tempered_divergence(teacher, student, torch.tensor(3.0 + step)).sum()
    below = tempered_divergence(teacher, student, torch.tensor(3.0 - step)).sum()
    assert tau.grad.item() == pytest.approx((above - below).item() / (2 * step), rel=1e-2)


def test_only_joints_that_count_have_a_loss():
    teacher = Logits(*(torch.randn(2, 3, 768).log_softmax(-1) for _ in "xy"))
    student = Logits(*(torch.randn(2, 3, 192) for _ in "xy"))
    distiller = LogitDistiller(LogitConfig(), TEACHER, resolution=64, split_factor=3)
    tau, weights = torch.tensor(2.0), torch.zeros(2, 3)
    assert distiller(student, teacher, weights, tau).item() == 0
    weights[1, 2] = 1
    alone = distiller(
        Logits(student.x[1:, 2:], student.y[1:, 2:]),
        Logits(teacher.x[1:, 2:], teacher.y[1:, 2:]),
        torch.ones(1, 1),
        tau,
    )
    assert distiller(student, teacher, weights, tau).item() == pytest.approx(alone.item())


@pytest.mark.parametrize(("resolution", "factor", "ratio"), [(64, 3, 4), (32, 2, 12), (32, 3, 8)])
def test_the_class_ratio_follows_resolution_and_split_factor(
    resolution: int, factor: int, ratio: int
):
    assert class_ratio(TEACHER, resolution, factor) == ratio


def test_a_class_ratio_that_is_no_whole_number_is_refused_with_both_factors():
    with pytest.raises(ConfigError, match=r"768 bins \(split factor 3 at 256\).*factor 5 at 64"):
        class_ratio(TEACHER, 64, 5)


def test_the_same_class_number_is_asked_for_by_name():
    config = LogitConfig(kind="same_class_number")
    with pytest.raises(ConfigError, match=r"split_factor to 12"):
        LogitDistiller(config, TEACHER, resolution=64, split_factor=3)
    distiller = LogitDistiller(config, TEACHER, resolution=64, split_factor=12)
    logits = Logits(*(torch.randn(1, 2, 768) for _ in "xy"))
    expected = Logits(*(axis.log_softmax(-1) for axis in logits))
    loss = distiller(logits, expected, torch.ones(1, 2), torch.tensor(5.0))
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_logits_may_be_aligned_by_a_learned_layer_instead():
    config = LogitConfig(kind="fully_connected")
    distiller = LogitDistiller(config, TEACHER, resolution=64, split_factor=3)
    student = Logits(*(torch.randn(2, 3, 192, requires_grad=True) for _ in "xy"))
    teacher = Logits(*(torch.randn(2, 3, 768).log_softmax(-1) for _ in "xy"))
    distiller(student, teacher, torch.ones(2, 3), torch.tensor(1.0)).backward()
    assert student.x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in distiller.parameters())
