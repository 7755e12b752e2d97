from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from farpose.keypoints import MPII16
from farpose_training.checkpoint import CheckpointError, save_model
from farpose_training.config import ConfigError, HeatmapConfig, ModelConfig
from farpose_training.distillation.teacher import load_teacher
from farpose_training.models.network import PoseNet
from farpose_training.public_checkpoints import is_public, load_public, public_tensors

CONFIG = ModelConfig.model_validate(
    {
        "backbone": {"kind": "timm", "name": "hrnet_w18_small"},
        "resolution": 64,
        "head": {"kind": "simcc", "split_factor": 2},
    }
)


@pytest.fixture(scope="module")
def network() -> PoseNet:
    torch.manual_seed(0)
    return PoseNet(CONFIG, 16).eval()


def simcc_layout(network: PoseNet) -> dict[str, Tensor]:
    """As SimCC's authors save an HRNet; older files count no batches."""
    names = {"head.joints": "final_layer", "head.x": "mlp_head_x", "head.y": "mlp_head_y"}
    renamed = {}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        theirs = name.removeprefix("backbone.net.")
        for ours, public in names.items():
            theirs = theirs.replace(ours, public)
        renamed[theirs] = value
    return renamed


def mmpose_layout(network: PoseNet) -> dict[str, Tensor]:
    head = ("final_layer", "mlp_head")
    return {
        f"head.{name}" if name.startswith(head) else f"backbone.{name}": value
        for name, value in simcc_layout(network).items()
    }


LAYOUTS: dict[str, Callable[[PoseNet], dict]] = {
    "simcc": simcc_layout,
    "data parallel": lambda net: {f"module.{k}": v for k, v in simcc_layout(net).items()},
    "training state": lambda net: {"epoch": 3, "best_state_dict": simcc_layout(net)},
    "mmpose": lambda net: {"meta": {}, "state_dict": mmpose_layout(net)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_public_checkpoint_answers_as_the_network_it_was_saved_from(
    network: PoseNet, layout: str, tmp_path: Path
):
    path = tmp_path / "public.pth"
    torch.save(LAYOUTS[layout](network), path)
    loaded = load_public(path, CONFIG, 16)
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(crops).x, network(crops).x)
        assert torch.equal(loaded(crops).y, network(crops).y)


def test_a_heatmap_network_is_read_too(tmp_path: Path):
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"head": HeatmapConfig(kind="heatmap")})
    network = PoseNet(config, 16).eval()
    layout = {
        name.removeprefix("backbone.net.").replace("head.maps", "keypoint_head.final_layer"): value
        for name, value in network.state_dict().items()
    }
    path = tmp_path / "pose_hrnet.pth"
    torch.save(layout, path)
    crops = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(load_public(path, config, 16)(crops).maps, network(crops).maps)


def test_a_public_teacher_needs_its_architecture(network: PoseNet, tmp_path: Path):
    path = tmp_path / "teacher.pth"
    torch.save(simcc_layout(network), path)
    with pytest.raises(ConfigError, match="teacher_model"):
        load_teacher(path, MPII16, None, torch.device("cpu"))
    teacher = load_teacher(path, MPII16, CONFIG, torch.device("cpu"))
    assert (teacher.shape.resolution, teacher.shape.bins) == (64, 128)


def test_the_official_networks_name_their_layers_as_timm_does():
    # From the published Pose-HRNet: a stem, one bottleneck stage, transitions, branches, fusions.
    names = timm.create_model("hrnet_w32", features_only=True, feature_location="").state_dict()
    for name, shape in (
        ("conv1.weight", (64, 3, 3, 3)),
        ("layer1.0.downsample.0.weight", (256, 64, 1, 1)),
        ("transition1.0.0.weight", (32, 256, 3, 3)),
        ("transition1.1.0.0.weight", (64, 256, 3, 3)),
        ("stage2.0.branches.1.3.conv2.weight", (64, 64, 3, 3)),
        ("stage3.3.fuse_layers.0.2.0.weight", (32, 128, 1, 1)),
        ("transition3.3.0.0.weight", (256, 128, 3, 3)),
        ("stage4.2.fuse_layers.0.3.0.weight", (32, 256, 1, 1)),
    ):
        assert tuple(names[name].shape) == shape


@pytest.mark.parametrize(("name", "channels"), [("hrnet_w32", 32), ("hrnet_w48", 48)])
def test_a_published_teacher_of_full_size_is_read(name: str, channels: int, tmp_path: Path):
    """SimCC's W32 and W48 at 256x256, all fusions of the last stage included, as released."""
    torch.manual_seed(0)
    whole = timm.create_model(name, features_only=True, feature_location="", out_indices=(1,))
    head = {
        "final_layer.weight": torch.randn(17, channels, 1, 1),
        "final_layer.bias": torch.randn(17),
        **{f"mlp_head_{axis}.weight": torch.randn(512, 4096) for axis in "xy"},
        **{f"mlp_head_{axis}.bias": torch.randn(512) for axis in "xy"},
    }
    path = tmp_path / "simcc.pth"
    torch.save({**whole.state_dict(), **head}, path)
    config = CONFIG.model_copy(
        update={
            "backbone": CONFIG.backbone.model_copy(update={"name": name}),
            "resolution": 256,
        }
    )
    loaded = load_public(path, config, 17)
    assert torch.equal(loaded.head.x.weight, head["mlp_head_x.weight"])
    assert loaded.backbone.channels == channels
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.backbone.net(picture)[0], whole.eval()(picture)[0])


def test_what_does_not_fit_is_named(network: PoseNet, tmp_path: Path):
    path = tmp_path / "public.pth"
    torch.save(simcc_layout(network), path)
    wider = CONFIG.model_copy(update={"resolution": 96})
    with pytest.raises(CheckpointError, match=r"head\.x\.weight is \[128, 256\], not \[192, 576\]"):
        load_public(path, wider, 16)
    weights = simcc_layout(network)
    del weights["mlp_head_x.bias"]
    torch.save(weights, path)
    with pytest.raises(CheckpointError, match=r"head\.x\.bias is missing"):
        load_public(path, CONFIG, 16)


def test_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "other.pth"
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        public_tensors(path)
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"no HRNet.*fc\.weight"):
        public_tensors(path)
    torch.save(Path, path)  # an object, which only code can make
    with pytest.raises(CheckpointError, match="without running code"):
        public_tensors(path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="without running code"):
        public_tensors(path)


def test_an_hrnet_of_ours_is_no_public_checkpoint(network: PoseNet, tmp_path: Path):
    path = tmp_path / "checkpoint.safetensors"
    save_model(path, network, MPII16, {})
    assert not is_public(path)
    teacher = load_teacher(path, MPII16, None, torch.device("cpu"))
    assert teacher.shape.resolution == CONFIG.resolution
