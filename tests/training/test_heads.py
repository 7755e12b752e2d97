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
from farpose_training.config import CalConfig, HeatmapConfig, ModelConfig
from farpose_training.losses import regression_loss, task_loss
from farpose_training.map_losses import cal_loss, confidence_mask, heatmap_loss
from farpose_training.models.backbones import BackboneError
from farpose_training.models.cal import CalDecoder, MapsAndOffsets
from farpose_training.models.heatmap import HeatmapDecoder, Heatmaps
from farpose_training.models.network import PoseNet, build_decoder
from farpose_training.models.regression import RealNVP, Regression, RegressionDecoder

HRNET = {"kind": "timm", "name": "hrnet_w18_small"}
HEADS = [
    {"kind": "heatmap"},
    {"kind": "heatmap", "decoding": "dark"},
    {"kind": "cal"},
    {"kind": "cal", "mask": "labels", "focus": 0},
    {"kind": "rle"},
]
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


def maps_and_offsets(x: float, y: float) -> MapsAndOffsets:
    """A joint at cell position `x`, `y`, and every cell knows how far it is."""
    cells = torch.arange(16.0)
    offsets = torch.stack([(x - cells).expand(16, 16), (y - cells)[:, None].expand(16, 16)])
    return MapsAndOffsets(gaussian_maps(x, y).maps, offsets[None, None], 4.0)


@pytest.mark.parametrize(("x", "y"), [(7.0, 5.0), (7.3, 5.4), (0.2, 14.6)])
def test_the_peaks_offset_leads_to_the_joint(x: float, y: float):
    keypoints, scores, variances = CalDecoder(cell=4.0)(maps_and_offsets(x, y))
    assert keypoints[0, 0].tolist() == pytest.approx([4 * x + 1.5, 4 * y + 1.5], abs=1e-4)
    assert 0.75 < scores.item() <= 1
    assert (variances > 0).all()


def test_the_offset_is_read_at_the_peak_and_nowhere_else():
    prediction = maps_and_offsets(7.0, 5.0)
    elsewhere = prediction.offsets.clone()
    elsewhere[..., 5, 8] = 100.0
    found, _, _ = CalDecoder(4.0)(prediction._replace(offsets=elsewhere))
    assert found[0, 0].tolist() == pytest.approx([29.5, 21.5])
    prediction.offsets[0, 0, :, 5, 7] = torch.tensor([0.25, -0.5])
    found, _, _ = CalDecoder(4.0)(prediction)
    assert found[0, 0].tolist() == pytest.approx([30.5, 19.5])


@pytest.mark.parametrize("mask", ["confidence", "labels"])
def test_the_cal_loss_is_zero_for_the_truth_and_leaves_out_what_is_outside(mask: str):
    config = CalConfig(kind="cal", mask=mask)
    prediction = maps_and_offsets(7.3, 5.4)
    keypoints = torch.tensor([[[4 * 7.3 + 1.5, 4 * 5.4 + 1.5]]])
    total, count = cal_loss(prediction, keypoints, torch.ones(1, 1), config)
    assert total.item() == pytest.approx(0, abs=1e-6)
    assert count.item() == 1
    for far, weight in ((keypoints + 64, 1.0), (keypoints, 0.0)):
        total, count = cal_loss(prediction, far, torch.full((1, 1), weight), config)
        assert total.item() == count.item() == 0


def test_the_cal_loss_is_the_weighted_sum_of_both():
    prediction = maps_and_offsets(7.0, 5.0)
    keypoints = torch.tensor([[[29.5, 21.5]]])
    to_the_right = torch.tensor([0.5, 0.0])[:, None, None]
    missed = prediction._replace(offsets=prediction.offsets + to_the_right)

    def loss(given: MapsAndOffsets, **changes: float) -> float:
        config = CalConfig(kind="cal", mask="labels", **changes)
        return cal_loss(given, keypoints, torch.ones(1, 1), config)[0].item()

    # 0.5 cells in every cell, weighted by the label: its sum is 2 pi.
    assert loss(missed, offset_weight=2.0) == pytest.approx(2 * 0.5 * 2 * math.pi / 256, rel=1e-3)
    low = prediction._replace(maps=prediction.maps.clone())
    low.maps[0, 0, 5, 7] = 0.5  # at the joint: it counts
    assert loss(low, focus=4.0) == pytest.approx(math.exp(2) * 0.25 / 256)
    assert loss(low, focus=0.0) == pytest.approx(0.25 / 256)
    for height, factor in ((0.9, 1.0), (1.1, math.exp(4.4))):  # far away: only as the peak
        wrong = prediction._replace(maps=prediction.maps.clone())
        wrong.maps[0, 0, 14, 14] = height
        assert loss(wrong, focus=4.0) == pytest.approx(factor * height**2 / 256, rel=1e-3)


def around(reach: int = 5) -> torch.Tensor:
    """`[1,1,2,H,W]` from a joint to the cells around it."""
    axis = torch.arange(-reach, reach + 1.0)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"))[None, None]


def test_offsets_are_learned_where_the_peaks_of_the_batch_are():
    torch.manual_seed(0)
    errors = torch.randn(200, 20, 2) * torch.tensor([1.0, 0.3]) + torch.tensor([0.8, 0.0])
    errors = errors.round()
    mask = confidence_mask(errors, torch.ones(200, 20), around())[0, 0]
    assert mask.max() <= 1
    kept = errors[(errors.abs() <= 3).all(-1)]
    expected = kept.var(0) + 1 / 12
    column = mask[5]  # along x
    assert column[6] > column[5] > column[4]  # to the right, where peaks are
    ratio = (column[7] / column[6]).log()  # of a gaussian around the mean
    mean = kept.mean(0)[0]
    assert ratio.item() == pytest.approx(
        (((1 - mean) ** 2 - (2 - mean) ** 2) / (2 * expected[0])).item(), rel=0.05
    )
    assert mask[7, 5] < 0.02 < mask[5, 7]  # narrow across
    assert (mask[:, :2] == 0).all()  # further than 3 cells away
    assert (mask[:2] == 0).all()


def test_joints_that_are_not_visible_and_peaks_elsewhere_shape_no_mask():
    errors = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [3.0, -3.0], [9.0, 2.0]]])
    visible = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    found = confidence_mask(errors, visible, around())
    assert torch.equal(found, confidence_mask(errors[:, :2], torch.ones(1, 2), around()))
    for nothing in (torch.zeros(1, 4), visible * 0):
        mask = confidence_mask(errors, nothing, around())
        assert torch.isfinite(mask).all()
        assert mask[0, 0, 5, 5] == 1


def test_the_cal_loss_is_float32_under_autocast():
    torch.manual_seed(0)
    net = network({"kind": "cal"}).eval()
    prediction = net(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8))
    keypoints, weights = 32 * torch.rand(4, 5, 2), torch.ones(4, 5)
    plain, _ = cal_loss(prediction, keypoints, weights, net.config.head)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = cal_loss(prediction, keypoints, weights, net.config.head)
    assert mixed.item() == plain.item()


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
