"""The fused projection loss against the same loss written down plainly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from farpose_training.distillation import projection
from farpose_training.distillation.features import cosine_distance
from farpose_training.distillation.projection import projected_cosine_distance

SAMPLES, CHANNELS, INPUTS, OUTPUTS = 5, 3, 10, 40


class Case:
    """Two projections, their inputs and what is wanted."""

    def __init__(self, kind: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        lead = (SAMPLES, CHANNELS)
        self.inputs = [torch.randn(*lead, INPUTS, dtype=kind).requires_grad_() for _ in range(2)]
        self.scales = [torch.rand(*lead, dtype=kind).requires_grad_() for _ in range(2)]
        self.layers = [nn.Linear(INPUTS, OUTPUTS, dtype=kind) for _ in range(2)]
        self.wanted = torch.randn(*lead, OUTPUTS, dtype=kind)

    def learned(self) -> list[Tensor]:
        return [
            *self.inputs,
            *self.scales,
            *(p for layer in self.layers for p in layer.parameters()),
        ]

    def fast(self) -> Tensor:
        return projected_cosine_distance(self.inputs, self.scales, self.layers, self.wanted)

    def plain(self) -> Tensor:
        found = [
            (x @ layer.weight.t() + s[..., None] * layer.bias).relu()
            for x, s, layer in zip(self.inputs, self.scales, self.layers, strict=True)
        ]
        return cosine_distance(sum(found[1:], found[0]), self.wanted)

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, self.learned(), retain_graph=True))


@pytest.mark.parametrize("samples_at_once", [1, 2, 5, 100])
def test_loss_and_gradients_are_those_of_the_plain_loss(
    monkeypatch: pytest.MonkeyPatch, samples_at_once: int
):
    monkeypatch.setattr(projection, "CHUNK_VALUES", samples_at_once * CHANNELS * OUTPUTS)
    case = Case()
    fast, plain = case.fast(), case.plain()
    assert fast.item() == pytest.approx(plain.item(), abs=1e-6)
    found = case.gradients(3 * fast)
    for gradient, expected in zip(found, case.gradients(3 * plain), strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
    # The graph can be gone through again, as the gradients of single terms are measured.
    assert all(torch.equal(a, b) for a, b in zip(found, case.gradients(3 * fast), strict=True))


def test_gradients_are_those_of_finite_differences():
    case = Case(torch.float64)
    assert torch.autograd.gradcheck(lambda *_: case.fast(), case.learned(), fast_mode=True)


def test_bfloat16_stays_as_near_to_float32_as_its_rounding():
    case = Case()
    expected = case.gradients(case.plain())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = case.fast()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(case.plain().item(), abs=2e-3)
    for found, gradient in zip(case.gradients(loss), expected, strict=True):
        assert (found - gradient).norm() < 0.03 * gradient.norm()


def test_nothing_is_differentiated_where_gradients_are_off():
    with torch.no_grad():
        loss = Case().fast()
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(Case().plain().item(), abs=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_not_a_number_is_not_hidden(kind: torch.dtype):
    case = Case()
    with torch.no_grad():
        case.layers[0].weight[0, 0] = torch.nan
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == torch.bfloat16):
        loss = case.fast()
    assert not torch.isfinite(case.gradients(loss)[0]).all()


def test_a_projection_of_zeros_has_a_finite_gradient():
    case = Case()
    with torch.no_grad():
        for value in case.scales:
            value.zero_()
        for value in case.inputs:
            value.zero_()
    assert case.fast().item() == pytest.approx(1)
    assert all(torch.isfinite(g).all() for g in case.gradients(case.fast()))
