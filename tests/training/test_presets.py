"""The configurations in training/configs: each can be read and built, and fits its teacher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from farpose.keypoints import keypoint_set
from farpose_training.config import (
    ConfigError,
    ModelConfig,
    TrainConfig,
    parse_train_config,
    read_yaml,
)
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.models.network import PoseNet, build_decoder, build_head
from farpose_training.objective import Objective

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
PAPER = CONFIGS / "paper"

Presets = dict[Path, TrainConfig]


@pytest.fixture(scope="module")
def presets() -> Iterator[Presets]:
    """Every file of a pose run; base/ holds parts of files."""
    with pytest.MonkeyPatch.context() as patch:
        files = sorted(CONFIGS.rglob("*.yaml"))
        for name in {n for path in files for n in re.findall(r"\$\{(\w+)\}", path.read_text())}:
            patch.setenv(name, f"/data/{name.lower()}")
        found = {}
        for path in files:
            content = read_yaml(path) if path.parent.name != "base" else {}
            if content.get("task") == "pose" and "model" in content:
                try:
                    found[path] = parse_train_config(content)
                except ConfigError as error:
                    pytest.fail(f"{path}: {error}")
        yield found


@pytest.fixture(scope="module")
def paper(presets: Presets) -> dict[str, TrainConfig]:
    """The paper's presets by file name without `.yaml`."""
    return {path.stem: config for path, config in presets.items() if path.parent == PAPER}


@cache
def network(model: ModelConfig, joints: int) -> PoseNet:
    """A network without memory for its weights; nothing is downloaded."""
    backbone = model.backbone.model_copy(update={"pretrained": False})
    with torch.device("meta"):
        return PoseNet(model.model_copy(update={"backbone": backbone}), joints)


def built(config: TrainConfig) -> PoseNet:
    return network(config.model, len(keypoint_set(config.keypoint_set)))


def teacher_of(config: TrainConfig) -> str:
    assert config.distillation
    assert config.distillation.teacher.name == "checkpoint.safetensors"
    return config.distillation.teacher.parent.name


def without_teacher(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"distillation": None, "output": Path("anywhere")})


def test_the_presets_cover_both_sets_both_resolutions_and_every_head(
    paper: dict[str, TrainConfig],
):
    expected = {
        f"{data}_{resolution}_{backbone}_{head}"
        for data in ("coco", "mpii")
        for resolution in (32, 64)
        for backbone in ("r50", "r152", "w32", "w48")
        for head in ("simcc", "heatmap", "dark", "cal", "rle")
    }
    assert expected <= set(paper)
    for name in expected:
        data, resolution, backbone, head = name.split("_")
        config = paper[name]
        assert config.keypoint_set == {"coco": "coco17", "mpii": "mpii16"}[data], name
        assert config.model.resolution == int(resolution), name
        assert config.model.head.kind == {"dark": "heatmap"}.get(head, head), name
        size = getattr(config.model.backbone, "depth", None) or config.model.backbone.name
        assert str(size).removeprefix("hrnet_w") == backbone[1:], name


def test_every_paper_preset_has_an_output_of_its_own(
    presets: Presets, paper: dict[str, TrainConfig]
):
    for name, config in paper.items():
        assert config.output == Path("runs/paper") / name
    others = [config.output for path, config in presets.items() if path.parent != PAPER]
    assert all(Path("runs/paper") not in output.parents for output in others)


def test_every_paper_preset_names_a_teacher_that_another_preset_trains(
    paper: dict[str, TrainConfig],
):
    distilled = {name: config for name, config in paper.items() if config.distillation}
    assert len(distilled) == 28
    for name, config in distilled.items():
        teacher = teacher_of(config)
        assert config.distillation.teacher.parent == paper[teacher].output, name
        assert paper[teacher].keypoint_set == config.keypoint_set, name
        assert paper[teacher].model.resolution == 256, name
        assert f"Train {teacher}.yaml first" in (PAPER / f"{name}.yaml").read_text(), name


def test_every_network_can_be_built_and_decoded(presets: Presets):
    # A network cut from an ONNX file needs that file; test_onnx_cut.py builds one.
    named = [c for c in presets.values() if c.model.backbone.kind in ("timm", "resnet")]
    assert len(named) > 90
    first = {config.model.backbone: config for config in named}
    channels = {backbone: built(config).backbone.channels for backbone, config in first.items()}
    for config in named:
        joints = len(keypoint_set(config.keypoint_set))
        with torch.device("meta"):
            build_head(config.model, channels[config.model.backbone], joints)
            build_decoder(config.model)


def test_every_student_of_the_paper_fits_its_teacher(paper: dict[str, TrainConfig]):
    for name, config in paper.items():
        if config.distillation is None:
            continue
        shape = TeacherShape.of(built(paper[teacher_of(config)]))
        with torch.device("meta"):
            objective = Objective(built(config), config.distillation, shape)
        if objective.logit is not None and config.distillation.logit.kind == "cca":
            assert objective.logit.ratio == 256 // config.model.resolution, name


def test_a_distilled_student_differs_from_its_baseline_in_nothing_else(
    paper: dict[str, TrainConfig],
):
    for name, config in paper.items():
        if config.distillation is None or name == "mpii_64_w32_same_class_number":
            continue
        head = next((head for head in ("heatmap", "cal") if f"_{head}_" in name), "simcc")
        baseline = paper["_".join([*name.split("_")[:3], head])]
        assert without_teacher(config) == without_teacher(baseline), name


@pytest.mark.parametrize(
    ("preset", "feature", "logit", "temperature"),
    [
        ("mpii_64_w32_projector", (1, "mean"), None, "fixed"),
        ("mpii_64_w32_ensemble", (3, "mean"), None, "fixed"),
        ("mpii_64_w32_sape", (3, "sau"), None, "fixed"),
        ("mpii_64_w32_necm", None, "cca", "fixed"),
        ("mpii_64_w32_cca", None, "cca", "etht"),
        ("mpii_64_w32_cdkd", (3, "sau"), "cca", "etht"),
        ("mpii_64_w32_cdkd_projectors5", (5, "sau"), "cca", "etht"),
        ("mpii_64_w32_cdkd_fixed_tau", (3, "sau"), "cca", "fixed"),
        ("coco_64_r50_cca", None, "cca", "etht"),
        ("coco_64_w32_heatmap_sape", (3, "sau"), None, "fixed"),
        ("mpii_64_w32_cal_sape", (3, "sau"), None, "fixed"),
    ],
)
def test_ablations_distil_the_parts_that_they_are_named_after(
    paper: dict[str, TrainConfig],
    preset: str,
    feature: tuple[int, str] | None,
    logit: str | None,
    temperature: str,
):
    parts = paper[preset].distillation
    assert (parts.feature and (parts.feature.projectors, parts.feature.fusion)) == feature
    assert (parts.logit and parts.logit.kind) == logit
    assert parts.temperature.kind == temperature


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        ("mpii_32_w32_simcc", 28.544),
        ("mpii_64_w32_simcc", 28.635),
        ("coco_64_w48_simcc", 63.694),
        ("mpii_256_w32_simcc_k2", 32.731),
        ("mpii_256_w32_simcc_k3", 34.829),
        ("coco_256_w48_simcc_k3", 69.889),
        ("mpii_64_r50_heatmap", 33.999),
    ],
)
def test_networks_have_the_papers_number_of_parameters(
    paper: dict[str, TrainConfig], preset: str, millions: float
):
    count = sum(p.numel() for p in built(paper[preset]).parameters())
    assert round(count / 1e6, 3) == millions


@pytest.mark.parametrize(
    ("preset", "epochs", "milestones", "augmentation"),
    [
        ("mpii_64_w32_cdkd", 210, (170, 200), (0.25, 30, 0.0)),
        ("mpii_32_r50_heatmap", 140, (90, 120), (0.25, 30, 0.0)),
        ("coco_64_w48_cdkd", 210, (170, 200), (0.35, 45, 0.3)),
        ("coco_64_r50_cca", 140, (90, 120), (0.3, 40, 0.0)),
    ],
)
def test_presets_keep_the_papers_schedule_and_augmentation(
    paper: dict[str, TrainConfig],
    preset: str,
    epochs: int,
    milestones: tuple[int, ...],
    augmentation: tuple[float, float, float],
):
    config = paper[preset]
    optimizer, views = config.optimizer, config.augmentation
    assert (optimizer.kind, optimizer.learning_rate, optimizer.batch_size) == ("adam", 1e-3, 128)
    assert (optimizer.schedule, optimizer.epochs) == ("step", epochs)
    assert optimizer.milestones == milestones
    assert (optimizer.weight_decay, optimizer.warmup_epochs, optimizer.ema_decay) == (0, 0, 0)
    assert (views.scale, views.rotation, views.half_body) == augmentation
    assert (views.flip, views.shift, views.color, views.heights) == (0.5, 0, 0, None)


@pytest.mark.parametrize(
    ("preset", "split_factor", "smoothing"),
    [("mpii_32_w32_cdkd", 2, 0.2), ("mpii_64_w32_cdkd", 3, 0.2), ("coco_64_w48_cdkd", 3, 0.1)],
)
def test_simcc_presets_keep_the_papers_labels(
    paper: dict[str, TrainConfig], preset: str, split_factor: int, smoothing: float
):
    head = paper[preset].model.head
    assert (head.split_factor, head.labels, head.smoothing) == (split_factor, "smooth", smoothing)
    assert head.decoding == "argmax"


@pytest.mark.parametrize(("preset", "variable"), [("coco_64_w48_cdkd", "COCO"),
                                                  ("mpii_32_w32_simcc", "MPII")])  # fmt: skip
def test_a_missing_data_folder_is_asked_for_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, preset: str, variable: str
):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=f"the environment variable {variable} is not set"):
        read_yaml(PAPER / f"{preset}.yaml")
