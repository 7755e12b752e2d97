from __future__ import annotations

import numpy as np
import pytest
import torch

from farpose import simcc
from farpose_training.config import ModelConfig, SimCCConfig
from farpose_training.losses import gaussian_labels, simcc_loss
from farpose_training.models.backbones import BackboneError
from farpose_training.models.network import PoseNet
from farpose_training.models.simcc import Logits, SimCCDecoder, marginal_weights


def hrnet(**changes: object) -> ModelConfig:
    backbone = {"kind": "timm", "name": "hrnet_w18_small"}
    return ModelConfig.model_validate({"backbone": backbone} | changes)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_hrnet_is_cut_to_the_published_size():
    # The backbone of hrnet_w18_small without the fuse layers nobody reads has 1.285 M parameters.
    assert round(parameters(PoseNet(hrnet(), 17).backbone) / 1e6, 3) == 1.285


@pytest.mark.parametrize("resolution", [32, 64])
def test_a_network_takes_one_crop_and_answers_bins(resolution: int):
    config = hrnet(resolution=resolution, head={"kind": "simcc", "split_factor": 2})
    net = PoseNet(config, 16).eval()
    crops = torch.zeros(1, resolution, resolution, 3, dtype=torch.uint8)
    logits = net(crops)
    assert logits.x.shape == logits.y.shape == (1, 16, 2 * resolution)


def test_other_backbones_are_refused_by_name():
    config = hrnet(backbone={"kind": "timm", "name": "resnet50"})
    with pytest.raises(BackboneError, match="resnet50"):
        PoseNet(config, 17)


@pytest.mark.parametrize("k", [2, 3])
def test_the_decoder_agrees_with_the_numpy_reference(k: int):
    config = SimCCConfig(split_factor=k, sigma=1.5 * k)
    rng = np.random.default_rng(k)
    logits = Logits(*(torch.tensor(rng.normal(0, 4, (6, 17, 64 * k))).float() for _ in "xy"))
    expected = simcc.decode(
        simcc.softmax(logits.x.numpy()), simcc.softmax(logits.y.numpy()), k, 1.5 * k
    )
    found = SimCCDecoder(config, 64)(logits)
    for a, b in zip(expected, found, strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-4


@pytest.mark.parametrize("k", [2, 3])
def test_argmax_decoding_agrees_with_the_numpy_reference(k: int):
    config = SimCCConfig(split_factor=k, sigma=1.5 * k, decoding="argmax")
    rng = np.random.default_rng(k)
    logits = Logits(*(torch.tensor(rng.normal(0, 4, (1, 17, 64 * k))).float() for _ in "xy"))
    expected = simcc.decode(
        simcc.softmax(logits.x.numpy()), simcc.softmax(logits.y.numpy()), k, 1.5 * k, "argmax"
    )
    keypoints, scores, variances = SimCCDecoder(config, 64)(logits)
    assert np.array_equal(keypoints.numpy(), expected.keypoints)
    assert np.abs(scores.numpy() - expected.scores).max() < 1e-4
    assert np.abs(variances.numpy() - expected.variances).max() < 1e-4


@pytest.mark.parametrize("score", ["normalized", "raw_min", "raw_max"])
def test_scores_agree_with_the_numpy_reference(score: str):
    config = SimCCConfig(split_factor=2, sigma=3.0, score=score)
    rng = np.random.default_rng(0)
    logits = Logits(*(torch.tensor(rng.normal(0, 4, (6, 17, 128))).float() for _ in "xy"))
    x, y = (simcc.softmax(axis.numpy()) for axis in logits)
    expected = simcc.decode(x, y, 2, 3.0, score=score).scores
    _, scores, _ = SimCCDecoder(config, 64)(logits)
    assert np.abs(scores.numpy() - expected).max() < 1e-5
    others = {"normalized", "raw_min", "raw_max"} - {score}
    for other in others:
        assert np.abs(simcc.decode(x, y, 2, 3.0, score=other).scores - expected).max() > 0.05


@pytest.mark.parametrize(
    ("score", "expected"), [("normalized", 0.36 / 0.9), ("raw_min", 0.36), ("raw_max", 0.9)]
)
def test_a_smooth_labels_score_by_hand(score: str, expected: float):
    # 0.9 in one of 64 bins along x, 0.36 along y.
    x, y = (torch.full((1, 1, 64), (1 - peak) / 63) for peak in (0.9, 0.36))
    x[..., 10], y[..., 20] = 0.9, 0.36
    config = SimCCConfig(split_factor=1, labels="smooth", smoothing=0.1, score=score)
    _, scores, _ = SimCCDecoder(config, 64)(Logits(x.log(), y.log()))
    assert scores.item() == pytest.approx(expected, abs=1e-5)


def test_labels_agree_with_the_numpy_reference():
    positions = torch.tensor([[3.2, 40.0, 62.9]])
    expected, _ = simcc.gaussian_labels(positions.numpy(), 64, 3, 4.0)
    assert np.abs(gaussian_labels(positions, 192, 3, 4.0).numpy() - expected).max() < 1e-6


def test_the_loss_is_zero_for_the_label_itself_and_ignores_what_is_not_visible():
    keypoints = torch.tensor([[[20.0, 30.0], [50.0, 9.0], [70.0, 9.0]]])
    perfect = Logits(
        *(gaussian_labels(keypoints[..., axis], 192, 3, 4.0).clamp(min=1e-30).log()
          for axis in (0, 1))
    )  # fmt: skip
    weights = torch.tensor([[1.0, 1.0, 1.0]])  # the third lies outside the crop
    config = SimCCConfig(split_factor=3, sigma=4.0)
    total, visible = simcc_loss(perfect, keypoints, weights, config)
    assert total.item() == pytest.approx(0, abs=1e-4)
    assert visible.item() == 2
    flat = Logits(torch.zeros(1, 3, 192), torch.zeros(1, 3, 192))
    both, _ = simcc_loss(flat, keypoints, weights, config)
    one, _ = simcc_loss(flat, keypoints, torch.tensor([[1.0, 0.0, 0.0]]), config)
    # Uniform over 192 bins against a gaussian of 4: log(192) - log(4 sqrt(2 pi e)) per axis.
    expected = 2 * (np.log(192) - np.log(4 * np.sqrt(2 * np.pi * np.e)))
    assert both.item() / 2 == pytest.approx(expected, abs=0.02)
    assert one.item() == pytest.approx(expected, abs=0.02)
    nobody, _ = simcc_loss(flat, keypoints, torch.zeros(1, 3), config)
    assert nobody.item() == 0


@pytest.mark.parametrize("labels", ["gaussian", "smooth"])
@pytest.mark.parametrize(
    ("x", "counted"),
    [(-0.1, 1), (-0.2, 0), (63.8, 1), (63.9, 0)],  # bins 0, -1, 191 and 192 of 192
)
def test_a_joint_without_a_bin_counts_nothing(labels: str, x: float, counted: int):
    config = SimCCConfig(split_factor=3, labels=labels)
    logits = Logits(torch.randn(1, 1, 192), torch.randn(1, 1, 192))
    for keypoint in ([x, 30.0], [30.0, x]):
        total, visible = simcc_loss(logits, torch.tensor([[keypoint]]), torch.ones(1, 1), config)
        assert visible.item() == counted
        assert (total.item() > 0) == bool(counted)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_heads_first_weights_find_a_bright_cell(axis: int):
    weights = marginal_weights(16, 64, 3, axis)
    cells = torch.zeros(16, 16)
    cells[5, 11] = 1.0  # row 5, column 11
    peak = (weights @ cells.flatten()).argmax().item() / 3
    assert peak == pytest.approx((11 if axis == 0 else 5) * 4 + 1.5, abs=1 / 3)
