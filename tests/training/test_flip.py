from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from farpose.keypoints import COCO17
from farpose_training.config import ConfigError, ModelConfig
from farpose_training.models.flip import FlipTest
from farpose_training.models.network import PoseNet
from farpose_training.models.simcc import Logits, SimCCDecoder

HRNET = {"kind": "timm", "name": "hrnet_w18_small"}
SIZE = 32


class Seeing(nn.Module):
    """A perfect network: every joint is where the brightest pixel of the crop is."""

    def __init__(self, split_factor: int) -> None:
        super().__init__()
        head = {"kind": "simcc", "split_factor": split_factor, "sigma": 1.5}
        self.config = ModelConfig.model_validate(
            {"backbone": HRNET, "resolution": SIZE, "head": head}
        )

    def forward(self, crops: Tensor) -> Logits:
        k = self.config.head.split_factor
        place = crops[..., 0].flatten(1).float().argmax(-1)
        bins = torch.arange(SIZE * k)

        def logits(position: Tensor) -> Tensor:
            distance = bins - k * position[:, None]
            return (-(distance**2) / (2 * 1.5**2))[:, None].expand(-1, 17, -1)

        return Logits(logits(place % SIZE), logits(place // SIZE))


def dot(x: int, y: int) -> Tensor:
    crops = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)
    crops[0, y, x] = 255
    return crops


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("x", [5, 16, 27])
def test_a_perfect_network_stays_perfect(k: int, x: int):
    network = Seeing(k)
    keypoints, _, _ = SimCCDecoder(network.config.head, SIZE)(FlipTest(network, COCO17)(dot(x, 9)))
    assert keypoints[0, :, 0].tolist() == pytest.approx([x] * 17, abs=0.01)
    assert keypoints[0, :, 1].tolist() == pytest.approx([9] * 17, abs=0.01)


def test_a_shift_of_one_is_biased_unless_the_split_factor_is_two():
    for k, bias in ((2, 0.0), (3, 1 / 6)):  # half of one bin of a third of a pixel
        network = Seeing(k)
        flipped = FlipTest(network, COCO17, shift=1)(dot(16, 9))
        keypoints, _, _ = SimCCDecoder(network.config.head, SIZE)(flipped)
        assert keypoints[0, 0, 0].item() - 16 == pytest.approx(bias, abs=0.01)


def test_probabilities_are_averaged_and_keep_their_mass():
    averaged = FlipTest(Seeing(3), COCO17)(dot(0, 0))
    assert averaged.x.exp().sum(-1).flatten().tolist() == pytest.approx([1] * 17, abs=1e-4)


def test_left_and_right_are_swapped():
    torch.manual_seed(0)
    network = PoseNet(Seeing(2).config, 17).eval()
    crops = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        plain = FlipTest(network, COCO17)(crops)
        mirrored = FlipTest(network, COCO17)(crops.flip(2))
    # Rows are the same for the mirrored crop, under the partner's name.
    assert torch.allclose(plain.y, mirrored.y[:, COCO17.flip_indices.copy()], atol=1e-4)


def test_only_simcc_heads_have_a_flip_test():
    config = ModelConfig.model_validate({"backbone": HRNET, "head": {"kind": "heatmap"}})
    with pytest.raises(ConfigError, match="this network has a heatmap"):
        FlipTest(PoseNet(config, 17), COCO17)
