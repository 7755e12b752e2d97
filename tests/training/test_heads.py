"""Heatmap and regression heads, and the ResNet backbone."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import onnx
import pytest
import timm
import torch

from farpose_export.graph import ExportedPose
from farpose_training.config import HeatmapConfig, ModelConfig
from farpose_training.losses import heatmap_loss, regression_loss, task_loss
from farpose_training.models.backbones import BackboneError
from farpose_training.models.heatmap import HeatmapDecoder, Heatmaps
from farpose_training.models.network import PoseNet, build_decoder
from farpose_training.models.regression import RealNVP, Regression, RegressionDecoder

HRNET = {"kind": "timm", "name": "hrnet_w18_small"}
HEADS = [{"kind": "heatmap"}, {"kind": "heatmap", "decoding": "dark"}, {"kind": "rle"}]
SIMCC = {"kind": "simcc", "split_factor": 2}


def network(head: dict[str, Any], **changes: Any) -> PoseNet:
    torch.manual_seed(0)
    settings = {"backbone": HRNET, "head": head, "resolution": 32} | changes
    return PoseNet(ModelConfig.model_validate(settings), joints=5)


def gaussian_maps(x: float, y: float, sigma: float = 1.0) -> Heatmaps:
    """One joint at cell position `x`, `y` of 16x16 cells of 4 pixels."""
    cells = torch.arange(16.0)
    squares = (cells[:, None] - y) ** 2 + (cells - x) ** 2
    return Heatmaps(torch.exp(-squares / (2 * sigma**2))[None, None], 4.0)


@pytest.mark.parametrize("head", HEADS)
def test_a_network_with_this_head_learns_one_batch(head: dict):
    net = network(head).train()
    crops = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    keypoints = 4 + 24 * torch.rand(8, 5, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        total, count = task_loss(net(crops), keypoints, torch.ones(8, 5), net.config.head)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append((total / count).item())
    assert losses[-1] < losses[0] - 0.3 * abs(losses[0])


@pytest.mark.parametrize("head", [*HEADS, SIMCC])
def test_one_crop_is_scored_decoded_and_exported(head: dict):
    net = network(head).eval()
    crops = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    total, count = task_loss(
        net(crops), torch.full((1, 5, 2), 9.0), torch.ones(1, 5), net.config.head
    )
    assert torch.isfinite(total)
    assert count.item() == 5
    keypoints, scores, variances = build_decoder(net.config)(net(crops))
    assert keypoints.shape == variances.shape == (1, 5, 2)
    assert scores.shape == (1, 5)
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    assert (variances >= 0).all()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter says that it is deprecated
        torch.onnx.export(
            ExportedPose(net).eval(), (crops,), buffer, opset_version=17, dynamo=False
        )
    graph = onnx.load_from_string(buffer.getvalue()).graph
    assert not any("flow" in weight.name for weight in graph.initializer)


@pytest.mark.parametrize(("x", "y"), [(7.0, 5.0), (7.3, 5.4), (3.8, 11.1)])
def test_dark_finds_the_middle_of_a_gaussian(x: float, y: float):
    decoder = HeatmapDecoder(HeatmapConfig(kind="heatmap", decoding="dark"), cell=4.0)
    keypoints, _, _ = decoder(gaussian_maps(x, y))
    # The centre of cell c is at pixel index 4c + 1.5.
    assert keypoints[0, 0].tolist() == pytest.approx([4 * x + 1.5, 4 * y + 1.5], abs=0.05)


def test_a_shift_goes_a_quarter_of_a_cell_to_the_higher_neighbour():
    decoder = HeatmapDecoder(HeatmapConfig(kind="heatmap"), cell=4.0)
    keypoints, scores, variances = decoder(gaussian_maps(7.3, 5.0))
    assert keypoints[0, 0].tolist() == pytest.approx([4 * 7.25 + 1.5, 4 * 5 + 1.5])
    assert scores.item() == pytest.approx(math.exp(-0.045), abs=1e-3)
    assert variances[0, 0].tolist() == pytest.approx([15, 15], rel=0.15)  # one cell, within +-2


@pytest.mark.parametrize("decoding", ["shift", "dark"])
@pytest.mark.parametrize("edge", [0.0, 15.0])
def test_a_peak_in_an_edge_cell_stays_there_and_moves_along_the_edge(decoding: str, edge: float):
    decoder = HeatmapDecoder(HeatmapConfig(kind="heatmap", decoding=decoding), cell=4.0)
    found = 7.25 if decoding == "shift" else 7.3
    keypoints, _, variances = decoder(gaussian_maps(edge, 7.3))
    assert keypoints[0, 0].tolist() == pytest.approx([4 * edge + 1.5, 4 * found + 1.5], abs=0.05)
    keypoints, _, _ = decoder(gaussian_maps(7.3, edge))
    assert keypoints[0, 0].tolist() == pytest.approx([4 * found + 1.5, 4 * edge + 1.5], abs=0.05)
    # Half a gaussian of one cell on cells 0, 1 and 2, around cell 0.
    half = 16 * (math.exp(-0.5) + 4 * math.exp(-2)) / (1 + math.exp(-0.5) + math.exp(-2))
    assert variances[0, 0, 0].item() == pytest.approx(half, abs=1e-3)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
def test_dark_fits_labels_of_any_width(sigma: float):
    config = HeatmapConfig(kind="heatmap", decoding="dark", sigma=sigma)
    keypoints, _, _ = HeatmapDecoder(config, cell=4.0)(gaussian_maps(7.3, 5.4, sigma))
    assert keypoints[0, 0].tolist() == pytest.approx([4 * 7.3 + 1.5, 4 * 5.4 + 1.5], abs=0.05)


def test_maps_without_a_peak_have_finite_answers():
    for decoding in ("shift", "dark"):
        decoder = HeatmapDecoder(HeatmapConfig(kind="heatmap", decoding=decoding), cell=4.0)
        for maps in (torch.zeros(1, 2, 8, 8), -torch.rand(1, 2, 8, 8)):
            assert all(torch.isfinite(part).all() for part in decoder(Heatmaps(maps, 4.0)))


def test_the_heatmap_loss_is_zero_for_the_label_and_leaves_out_what_is_outside():
    config = HeatmapConfig(kind="heatmap")
    maps = gaussian_maps(7.3, 5.4)
    keypoints = torch.tensor([[[4 * 7.3 + 1.5, 4 * 5.4 + 1.5]]])
    total, count = heatmap_loss(maps, keypoints, torch.ones(1, 1), config)
    assert total.item() == pytest.approx(0, abs=1e-9)
    assert count.item() == 1
    for far, weight in ((keypoints + 64, 1.0), (keypoints, 0.0)):
        total, count = heatmap_loss(maps, far, torch.full((1, 1), weight), config)
        assert total.item() == count.item() == 0


def test_the_flow_is_a_density():
    torch.manual_seed(0)
    flow = RealNVP()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        axis = torch.linspace(-12, 12, 481)
        points = torch.cartesian_prod(axis, axis)
        mass = flow.log_density(points).exp().sum() * 0.05**2
    assert mass.item() == pytest.approx(1, abs=0.02)


def test_the_regression_loss_is_the_likelihood_of_the_errors():
    flow = RealNVP()
    positions = torch.tensor([[[0.1, 0.0], [0.3, 0.2]]])
    spreads = torch.full((1, 2, 2), 0.05)
    prediction = Regression(positions, spreads, flow, 64)
    keypoints = torch.tensor([[[0.65 * 64, 0.5 * 64], [10.0, 10.0]]])
    total, count = regression_loss(prediction, keypoints, torch.tensor([[1.0, 0.0]]))
    error = torch.tensor([[-1.0, 0.0]])  # (0.1 - 0.15) / 0.05
    laplace = -1.0 - 2 * math.log(2)
    expected = 2 * math.log(0.05) - laplace - flow.log_density(error).item()
    assert count.item() == 1
    assert total.item() == pytest.approx(expected, abs=1e-4)


def spread_out() -> tuple[Regression, torch.Tensor]:
    """A prediction with a flow that has learned something, and keypoints."""
    torch.manual_seed(0)
    flow = RealNVP()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    positions, keypoints = torch.rand(4, 17, 2) - 0.5, 64 * torch.rand(4, 17, 2)
    return Regression(positions, torch.full_like(positions, 0.05), flow, 64), keypoints


def test_the_regression_loss_is_float32_under_autocast():
    prediction, keypoints = spread_out()
    weights = torch.ones(4, 17)
    plain, _ = regression_loss(prediction, keypoints, weights)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = regression_loss(prediction, keypoints, weights)
    assert mixed.item() == plain.item()


def test_joints_of_half_the_weight_have_half_the_regression_loss():
    prediction, keypoints = spread_out()
    whole, count = regression_loss(prediction, keypoints, torch.ones(4, 17))
    half, half_count = regression_loss(prediction, keypoints, torch.full((4, 17), 0.5))
    assert half.item() == pytest.approx(whole.item() / 2)
    assert half_count.item() == count.item() / 2


def test_a_regression_batch_without_visible_joints_trains_nothing():
    prediction, keypoints = spread_out()
    total, count = regression_loss(prediction, keypoints + 64, torch.ones(4, 17))
    assert total.item() == count.item() == 0
    total.backward()
    assert all((p.grad == 0).all() for p in prediction.flow.parameters())


def test_regressed_positions_are_crop_pixels():
    prediction = Regression(torch.zeros(1, 1, 2), torch.full((1, 1, 2), 0.1), RealNVP(), 64)
    keypoints, scores, variances = RegressionDecoder(64)(prediction)
    assert keypoints.flatten().tolist() == [32, 32]  # the centre of the crop
    assert scores.item() == pytest.approx(0.9)
    assert variances.flatten().tolist() == pytest.approx([2 * 6.4**2] * 2)


def test_a_resnet_is_brought_back_to_stride_4():
    backbone = {"kind": "resnet", "depth": 50}
    with torch.device("meta"):
        net = network({"kind": "heatmap"}, backbone=backbone, resolution=64)
        maps = net(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).maps
    assert maps.shape == (1, 5, 16, 16)
    assert net.backbone.channels == 256


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch: pytest.MonkeyPatch):
    def offline(*args: Any, **settings: Any) -> None:
        raise FileNotFoundError("Please check your connection\nand try again")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneError, match=r"pretrained: the ImageNet.*connection\); connect"):
        network({"kind": "heatmap"}, backbone=HRNET | {"pretrained": True})


def test_an_unknown_network_is_not_taken_for_a_missing_connection():
    with pytest.raises(BackboneError, match=r"^model\.backbone: hrnet_w19: Unknown model"):
        network({"kind": "heatmap"}, backbone=HRNET | {"name": "hrnet_w19", "pretrained": True})
