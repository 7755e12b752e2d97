from __future__ import annotations

import pytest
import torch

from farpose_training.config import ConfigError, SapeConfig
from farpose_training.distillation.alternatives import ConvDownsample, FullyConnectedFeature
from farpose_training.distillation.features import cosine_distance
from farpose_training.distillation.sape import Sape, ScaleAdaptiveUnit

STUDENT = (16, 8)  # channels, cells
TEACHER = (12, 32)


def features(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(batch, 16, 8, 8, generator=generator).requires_grad_()
    return student, torch.randn(batch, 12, 32, 32, generator=generator).relu().requires_grad_()


@pytest.mark.parametrize(
    "config",
    [
        SapeConfig(),
        SapeConfig(outputs="projectors"),
        SapeConfig(projectors=1, fusion="mean"),
        SapeConfig(projectors=3, fusion="mean"),
        SapeConfig(projectors=5, kernels=(3, 3, 9)),
    ],
)
def test_the_loss_reaches_the_student_and_every_part_but_not_the_teacher(config: SapeConfig):
    sape = Sape(config, *STUDENT, *TEACHER)
    student, teacher = features()
    sape(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    for name, parameter in sape.named_parameters():
        assert parameter.grad is not None, name
        # One output's softmax is always 1, and a mean of one is the projection itself.
        assert parameter.grad.abs().sum() > 0, name


def test_projectors_start_from_different_weights():
    sape = Sape(SapeConfig(projectors=3), *STUDENT, *TEACHER)
    first, second, third = (p.linear.weight for p in sape.projectors)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_the_unit_gives_every_output_a_share_per_channel():
    unit = ScaleAdaptiveUnit(12, (3, 5, 7, 7), outputs=4)
    weights = unit(torch.randn(5, 12, 8, 8))
    assert weights.shape == (4, 5, 12)
    assert weights.sum(0).flatten().tolist() == pytest.approx([1.0] * 60)
    assert len(unit.branches) == 4


def spelled_out(sape: Sape, feature: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The loss of a unit with the mean among its outputs, every map made and kept."""
    aligned = sape.align(feature)
    maps = [projector(aligned.flatten(2)) for projector in sape.projectors]
    outputs = torch.stack([*maps, torch.stack(maps).mean(0)])
    found = (sape.unit(aligned)[..., None] * outputs).sum(0)
    return cosine_distance(found, teacher.detach().flatten(2))


def test_outputs_are_weighted_per_channel_and_the_mean_is_one_of_them():
    sape = Sape(SapeConfig(projectors=2), *STUDENT, *TEACHER).eval()
    student, teacher = features()
    expected = spelled_out(sape, student, teacher)
    assert sape(student, teacher).item() == pytest.approx(expected.item(), abs=1e-6)


def test_without_the_unit_projections_are_averaged():
    sape = Sape(SapeConfig(projectors=3, fusion="mean"), *STUDENT, *TEACHER)
    student, teacher = features()
    flat = sape.align(student).flatten(2)
    found = sum(projector(flat) for projector in sape.projectors) / 3
    expected = cosine_distance(found, teacher.flatten(2))
    assert sape(student, teacher).item() == pytest.approx(expected.item(), abs=1e-6)


def test_training_has_the_losses_of_the_loss_as_it_is_written_down():
    losses: dict[str, list[float]] = {}
    for name, loss in (("fast", Sape.__call__), ("spelled out", spelled_out)):
        torch.manual_seed(0)
        sape = Sape(SapeConfig(), *STUDENT, *TEACHER)
        student, teacher = features(batch=4)
        learned = [student, *sape.parameters()]
        optimizer = torch.optim.SGD(learned, lr=5.0)
        losses[name] = []
        for _ in range(5):
            optimizer.zero_grad()
            value = loss(sape, student, teacher)
            value.backward()
            optimizer.step()
            losses[name].append(value.item())
    assert losses["fast"] == pytest.approx(losses["spelled out"], abs=1e-5)
    assert losses["fast"][-1] < losses["fast"][0] - 0.005


def test_one_sample_is_enough_to_evaluate():
    sape = Sape(SapeConfig(), *STUDENT, *TEACHER).eval()
    student, teacher = features(batch=1)
    assert 0 <= sape(student, teacher).item() <= 2


def test_the_distance_is_of_directions_and_defined_for_zeros():
    feature = torch.randn(2, 3, 4, 4)
    assert cosine_distance(feature, 5 * feature).item() == pytest.approx(0, abs=1e-5)
    assert cosine_distance(feature, -feature).item() == pytest.approx(2, abs=1e-5)
    zero = torch.zeros(2, 3, 4, 4, requires_grad=True)
    cosine_distance(zero, feature).backward()
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("kind", [ConvDownsample, FullyConnectedFeature])
def test_alternatives_bring_the_teacher_down_and_teach_the_student(kind: type):
    distiller = kind(*STUDENT, *TEACHER)
    student, teacher = features()
    distiller(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in distiller.parameters())


def test_a_size_that_halving_cannot_reach_is_refused():
    with pytest.raises(ConfigError, match=r"24 cells.*student's 8"):
        ConvDownsample(16, 8, 12, 24)
