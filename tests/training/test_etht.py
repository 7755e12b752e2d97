from __future__ import annotations

import pytest
import torch

from farpose_training.config import EasyToHardConfig
from farpose_training.distillation.cca import tempered_divergence
from farpose_training.distillation.etht import Adversary, difficulty

TEACHER = 4 * torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
STUDENT = 4 * torch.randn(8, 40, generator=torch.Generator().manual_seed(1))


def loss(adversary: Adversary) -> torch.Tensor:
    return tempered_divergence(TEACHER, STUDENT, adversary.tau()).sum()


def train(config: EasyToHardConfig, epoch: int, steps: int) -> Adversary:
    adversary = Adversary(config, alpha=5.0, beta=1.0)
    optimizer = adversary.optimizer()
    adversary.start_epoch(epoch, 10, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(adversary).backward()
        optimizer.step()
    return adversary


def test_the_temperature_starts_where_theta_says():
    adversary = Adversary(EasyToHardConfig(kind="etht"), alpha=5.0, beta=1.0)
    assert adversary.tau().item() == pytest.approx(1 + 20 / (1 + torch.e**-1), abs=1e-4)


@pytest.mark.parametrize(("epoch", "xi"), [(0, 0.0), (5, 0.5), (10, 1.0), (14, 1.0)])
def test_difficulty_grows_from_0_to_1_and_stays(epoch: int, xi: float):
    assert difficulty(epoch, 10) == pytest.approx(xi)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_step_makes_the_loss_harder(kind: str):
    def exact(adversary: Adversary) -> float:
        # One step changes less than FP32 rounds.
        tau = adversary.tau().detach().double()
        teacher, student = ((x.double() / tau).log_softmax(-1) for x in (TEACHER, STUDENT))
        return float(tau**2 * (teacher.exp() * (teacher - student)).sum())

    config = EasyToHardConfig(kind="etht", optimizer=kind, learning_rate=1e-3)
    start = Adversary(config, alpha=5.0, beta=1.0)
    assert exact(start) == pytest.approx(loss(start).item(), rel=1e-5)
    after = train(config, epoch=5, steps=1)
    assert after.theta.item() != pytest.approx(1.0, abs=1e-6)
    assert exact(after) > exact(start)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_theta_moves_in_proportion_to_the_difficulty(kind: str):
    # xi is 0.1 where the cosine is 0.8: at acos(0.8) / pi = 0.205 of its half period.
    config = EasyToHardConfig(kind="etht", optimizer=kind, learning_rate=1e-4, epochs=1000)
    tenth = Adversary(config, 5.0, 1.0)
    moved = {}
    for epoch, xi in ((205, 0.1), (1000, 1.0)):
        optimizer = tenth.optimizer()
        tenth.start_epoch(epoch, 1000, optimizer)
        assert tenth.xi == pytest.approx(xi, abs=2e-3)
        moved[xi] = train(config, epoch, steps=20).theta.item() - 1
    assert moved[0.1] / moved[1.0] == pytest.approx(0.1, rel=0.05)


def test_nothing_moves_in_the_first_epoch():
    for kind in ("adam", "sgd"):
        config = EasyToHardConfig(kind="etht", optimizer=kind)
        assert train(config, epoch=0, steps=5).theta.item() == 1.0


def test_learned_weights_start_where_they_are_set_climb_and_stay_bounded():
    config = EasyToHardConfig(kind="etht", learn_alpha=True, learn_beta=True, learning_rate=0.5)
    adversary = Adversary(config, alpha=5.0, beta=0.3)
    assert adversary.weight("alpha").item() == pytest.approx(5.0)
    assert adversary.weight("beta").item() == pytest.approx(0.3)
    optimizer = adversary.optimizer()
    adversary.start_epoch(10, 10, optimizer)
    for _ in range(100):
        optimizer.zero_grad()
        (adversary.weight("alpha") * 0.7 + adversary.weight("beta") * loss(adversary)).backward()
        optimizer.step()
    assert 9.5 < adversary.weight("alpha").item() < 10
    assert 0.57 < adversary.weight("beta").item() < 0.6


def test_weights_that_are_not_learned_are_constants():
    adversary = Adversary(EasyToHardConfig(kind="etht"), alpha=5.0, beta=0.3)
    assert not adversary.weight("alpha").requires_grad
    assert [name for name, _ in adversary.named_parameters()] == ["theta"]
