from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from farpose_training.config import ConfigError, OptimizerConfig
from farpose_training.loop.averaging import AveragedWeights
from farpose_training.loop.gradients import gradient_ratios
from farpose_training.loop.processes import share_of_batch
from farpose_training.loop.schedule import learning_rate_factor, seed_everything, step_seed


def factors(steps_per_epoch: int = 4, **settings: object) -> list[float]:
    config = OptimizerConfig.model_validate(settings)
    steps = config.epochs * steps_per_epoch
    return [learning_rate_factor(config, step, steps_per_epoch) for step in range(steps)]


def test_the_learning_rate_warms_up_in_equal_parts_and_falls_to_nothing():
    rates = factors(epochs=5, warmup_epochs=1)
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[12] == pytest.approx(0.5)  # half of the 16 steps after the warm-up
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_a_warm_up_may_be_a_part_of_an_epoch_or_none():
    assert factors(epochs=2, warmup_epochs=0.5)[:2] == [0.5, 1.0]
    assert factors(epochs=2, warmup_epochs=0)[0] == 1.0


def test_steps_divide_the_learning_rate_by_ten_after_each_milestone():
    rates = factors(2, epochs=5, warmup_epochs=1, schedule="step", milestones=[2, 4])
    assert rates == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("settings", [{"schedule": "step"}, {"milestones": [3]}])
def test_milestones_without_their_schedule_are_refused(settings: dict):
    with pytest.raises(ValidationError, match="step and milestones need each other"):
        OptimizerConfig.model_validate(settings)


def test_a_steps_seed_depends_on_nothing_but_its_place():
    assert step_seed(0, 3, 7, 0) == step_seed(0, 3, 7, 0)
    places = [(0, 3, 7, 0), (1, 3, 7, 0), (0, 4, 7, 0), (0, 3, 8, 0), (0, 3, 7, 1)]
    assert len({step_seed(*place) for place in places}) == 5
    seed_everything(5)
    first = torch.rand(3)
    seed_everything(5)
    assert torch.equal(torch.rand(3), first)


def test_the_average_follows_quickly_at_first_and_slowly_later():
    network = nn.BatchNorm1d(2)
    average = AveragedWeights(network, decay=0.9)

    def take(value: float) -> float:
        nn.init.constant_(network.weight, value)
        network.running_mean.fill_(value)
        network.num_batches_tracked.fill_(int(value))
        average.update()
        assert average.network.running_mean.tolist() == average.network.weight.tolist()
        assert average.network.num_batches_tracked.item() == value
        return average.network.weight[0].item()

    assert take(2.0) == 2.0
    assert take(3.0) == pytest.approx(2 + 9 / 11)
    average.steps.fill_(1000)
    assert take(7.0) == pytest.approx(2 + 9 / 11 + 0.1 * (5 - 9 / 11))


def test_gradient_ratios_are_those_of_the_weighted_terms():
    parameters = [torch.tensor([3.0, 4.0], requires_grad=True), torch.ones(2, requires_grad=True)]
    terms = {"task": parameters[0].sum(), "feature": (2 * parameters[0]).sum()}
    ratios = gradient_ratios(terms, {"feature": 5.0}, parameters, lambda gradient: gradient)
    assert ratios == {"feature": pytest.approx(10.0)}
    assert gradient_ratios(terms, {}, parameters, lambda gradient: gradient) == {}
    nothing = terms | {"task": 0 * terms["task"]}
    assert gradient_ratios(nothing, {"feature": 5.0}, parameters, lambda gradient: gradient) == {}


def test_a_batch_is_shared_equally_or_refused_by_name():
    assert share_of_batch(64, 4) == 16
    with pytest.raises(ConfigError, match=r"batch_size: 64 .* cannot be shared by 3 processes"):
        share_of_batch(64, 3)
    with pytest.raises(ConfigError, match=r"one sample to each.*batch norm.*at least 8"):
        share_of_batch(4, 4)
