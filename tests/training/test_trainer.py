from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.keypoints import COCO17
from farpose_training.checkpoint import CheckpointError, load_model, read_tensors, save_model
from farpose_training.config import (
    ConfigError,
    ModelConfig,
    RuntimeConfig,
    parse_train_config,
    read_yaml,
)
from farpose_training.data.batch import Batch
from farpose_training.data.boxes import detector_like_boxes
from farpose_training.data.people import load_people
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.loop import processes
from farpose_training.loop.processes import start_fabric
from farpose_training.loop.progress import Progress
from farpose_training.loop.schedule import seed_everything
from farpose_training.models.backbones import BackboneError
from farpose_training.models.network import PoseNet
from farpose_training.objective import Objective
from farpose_training.optimization import TrainingError
from farpose_training.trainer import Trainer, train


def run(settings: dict, **optimizer: object) -> list[dict]:
    config = parse_train_config(settings | {"optimizer": settings["optimizer"] | optimizer})
    train(config)
    return [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_leaves_a_checkpoint_that_loads(settings: dict):
    log = run(settings, epochs=12, learning_rate=5e-3)
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
    assert 0 <= log[-1]["pck_0.5"] <= 1
    loaded = load_model(Path(settings["output"]) / "checkpoint.safetensors")
    assert loaded.keypoint_set.name == "coco17"
    assert loaded.facts["epochs"] == "12"
    assert str(loaded.model.config.backbone.path) == "small.onnx"  # no path of this machine
    crops = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert loaded.model(crops).x.shape == (1, 17, 64)


def test_a_checkpoint_starts_another_run(settings: dict, tmp_path: Path):
    run(settings)
    start = Path(settings["output"]) / "checkpoint.safetensors"
    tuned = settings | {"output": str(tmp_path / "tuned"), "init": str(start)}
    # The original network is not needed any more: the checkpoint holds its graph.
    tuned["model"] = settings["model"] | {
        "backbone": settings["model"]["backbone"] | {"path": "gone.onnx"}
    }
    assert len(run(tuned, epochs=1)) == 1


def test_a_checkpoint_of_another_resolution_gives_the_weights_that_fit(
    settings: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(settings)
    start = Path(settings["output"]) / "checkpoint.safetensors"
    larger = settings["model"] | {"resolution": 64}
    run(settings | {"output": str(tmp_path / "l"), "init": str(start), "model": larger}, epochs=1)
    assert "trained from scratch: head.x.weight, head.x.bias" in capsys.readouterr().out


def test_boxes_come_from_a_detector_where_it_agrees(repository: Path, data: Path, settings: dict):
    coco = {"annotations": data / "coco_mini/val.json", "images": data / "coco_mini/val"}
    source = parse_train_config(settings | {"train": [coco | {"detector": repository}]}).train[0]
    dataset = load_dataset(source.annotations, source.images)
    few = dataset.select(dataset.picture_index < 6)
    few = replace(few, pictures=few.pictures[:6])
    boxes = detector_like_boxes(few, source)
    moved = np.abs(boxes - few.boxes).max(axis=1) > 0
    assert 0.3 < moved.mean() <= 1
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_state(settings: dict):
    config = parse_train_config(settings)
    config.output.mkdir()
    trainer = Trainer(config)
    original = trainer.loader.epoch

    def spoiled(number: int, first: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(original(number, first), first):
            lost = (number, step) == (1, 2)
            yield replace(batch, keypoints=batch.keypoints * float("nan")) if lost else batch

    trainer.loader.epoch = spoiled
    message = r"loss is nan in epoch 2, step 3: lower optimizer.learning_rate; .* end of epoch 1"
    with pytest.raises(TrainingError, match=message):
        trainer.run()
    state, metadata = read_tensors(config.output / "last.safetensors")
    assert Progress.from_json(metadata["progress"]).epoch == 1
    assert all(v.isfinite().all() for v in state.values())
    assert all(p.isfinite().all() for p in trainer.learner.network.parameters())


def test_a_learning_rate_that_is_far_too_high_is_named(settings: dict):
    with pytest.raises(TrainingError, match=r"epoch 1, step 2: lower .*; nothing was kept yet"):
        run(settings, learning_rate=1e30)


def test_the_log_says_what_was_learned_and_where_the_time_went(settings: dict):
    first, second = run(settings, learning_rate=2e-3)
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert first["loss"] == first["task"]
    assert second["learning_rate"] < first["learning_rate"] < 2e-3
    assert first["samples_per_second"] > 0
    assert 0 < first["waiting_share"] < 1


def test_a_distillation_is_logged_with_its_strength(settings: dict, tmp_path: Path):
    teacher = settings | {"output": str(tmp_path / "teacher")}
    teacher["model"] = settings["model"] | {"resolution": 64}
    run(teacher, epochs=1)
    checkpoint = tmp_path / "teacher/checkpoint.safetensors"
    distillation = {"teacher": str(checkpoint), "temperature": {"kind": "etht"}, "alpha": 2.0}
    first, second = run(settings | {"distillation": distillation})
    total = first["task"] + 2.0 * first["feature"] + 1.0 * first["logit"]
    assert first["loss"] == pytest.approx(total)
    assert first["feature_gradient_ratio"] > 0
    assert first["logit_gradient_ratio"] > 0
    assert (first["xi"], second["xi"]) == (0.0, pytest.approx(0.5))
    assert (first["alpha"], first["beta"]) == (2.0, 1.0)
    assert second["tau"] != first["tau"]
    with pytest.raises(ConfigError, match=r"distillation.teacher: .* predicts coco17, the student"):
        run(
            settings
            | {"distillation": distillation, "keypoint_set": "lsp14", "output": str(tmp_path / "o")}
        )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("feature", "sape"),
        ("feature", "conv_downsample"),
        ("feature", "fully_connected"),
        ("logit", "cca"),
        ("logit", "fully_connected"),
    ],
)
def test_a_view_bank_stands_in_for_the_teacher(
    settings: dict, tmp_path: Path, part: str, kind: str, precision: str
):
    checkpoint = tmp_path / "teacher.safetensors"
    larger = ModelConfig.model_validate(settings["model"] | {"resolution": 64})
    save_model(checkpoint, PoseNet(larger, 17), COCO17, {})
    other = "logit" if part == "feature" else "feature"
    distillation = {"teacher": str(checkpoint), part: {"kind": kind}, other: None}
    bank = {"folder": str(tmp_path / "bank"), "views": 2}
    changes = {"distillation": distillation, "bank": bank, "runtime": {"precision": precision}}
    (record,) = run(settings | changes, epochs=1)
    assert record[f"{part}_gradient_ratio"] > 0
    assert other not in record


def test_a_distilled_student_starts_as_the_baseline_does(settings: dict, tmp_path: Path):
    checkpoint = tmp_path / "teacher.safetensors"
    config = parse_train_config(settings)
    config.output.mkdir()
    baseline = Trainer(config).learner.network
    larger = ModelConfig.model_validate(settings["model"] | {"resolution": 64})
    save_model(checkpoint, PoseNet(larger, 17), COCO17, {})
    distilled = settings | {"distillation": {"teacher": str(checkpoint)}}
    student = Trainer(parse_train_config(distilled)).learner.network
    expected = baseline.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in student.state_dict().items())


def test_the_first_weights_follow_from_the_seed_alone(settings: dict, tmp_path: Path):
    larger = ModelConfig.model_validate(settings["model"] | {"resolution": 64})
    save_model(tmp_path / "teacher.safetensors", PoseNet(larger, 17), COCO17, {})
    distillation = {"teacher": str(tmp_path / "teacher.safetensors")}
    bank = {"folder": str(tmp_path / "bank"), "views": 1}
    config = parse_train_config(settings | {"seed": 3, "distillation": distillation, "bank": bank})
    shape = TeacherShape.of(PoseNet(larger, 17))
    seed_everything(3)
    expected = Objective(PoseNet(config.model, 17), config.distillation, shape)
    config.output.mkdir()
    found = Trainer(config).learner.objective.state_dict()
    assert found.keys() == expected.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in expected.state_dict().items())


def test_frozen_batch_norms_keep_their_statistics(settings: dict):
    run(settings, freeze_batch_norm=True)
    frozen = load_model(Path(settings["output"]) / "checkpoint.safetensors").model.state_dict()
    means = [value for name, value in frozen.items() if name.endswith("running_mean")]
    assert means
    assert all((mean == 0).all() for mean in means)


def test_bfloat16_computes_nearly_the_same_and_keeps_full_weights(settings: dict, tmp_path: Path):
    full = run(settings, epochs=1)
    mixed = settings | {"output": str(tmp_path / "mixed"), "runtime": {"precision": "bf16-mixed"}}
    (half,) = run(mixed, epochs=1)
    assert half["loss"] != full[0]["loss"]
    assert half["loss"] == pytest.approx(full[0]["loss"], rel=0.02)
    state, _ = read_tensors(tmp_path / "mixed/checkpoint.safetensors")
    assert state["head.x.weight"].dtype == torch.float32


def test_mixed_precision_is_of_the_network_and_not_of_what_it_is_shown():
    class Layer(torch.nn.Linear):
        def forward(self, joints: torch.Tensor) -> torch.Tensor:
            self.seen = joints.dtype, super().forward(joints).dtype
            return joints.sum() * self.weight.sum()

    fabric = start_fabric(RuntimeConfig(accelerator="cpu", precision="bf16-mixed"))
    layer = Layer(2, 2)
    fabric.setup(layer)(torch.ones(1, 2))
    assert layer.seen == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_is_bfloat16_where_the_device_has_instructions_for_it(
    fast: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(processes, "multiplies_bfloat16", lambda accelerator: fast)
    seen = []
    for precision in ("auto", "bf16-mixed", "32-true"):
        fabric = start_fabric(RuntimeConfig(accelerator="cpu", precision=precision))
        with fabric.autocast():
            seen.append(torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype)
    automatic = torch.bfloat16 if fast else torch.float32
    assert seen == [automatic, torch.bfloat16, torch.float32]
    warning = "runtime.precision: bf16-mixed, but this processor has no instructions for bfloat16"
    assert capsys.readouterr().err.count(warning) == (not fast)


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"sve": True, "bf16": True}, True)],
)
def test_the_processor_is_asked_for_its_instructions(
    found: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert processes.multiplies_bfloat16("cpu") == expected


def test_tensorboard_gets_the_scalars_of_the_log(settings: dict):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = run(settings | {"runtime": {"tensorboard": True}})
    run(settings | {"runtime": {"tensorboard": True}})  # nothing is left to do, nothing doubled
    events = EventAccumulator(str(Path(settings["output"]) / "tensorboard"))
    events.Reload()
    for name in log[-1].keys() - {"epoch"}:
        logged = {r["epoch"]: r[name] for r in log if name in r}
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == pytest.approx(logged)


def test_what_is_not_installed_is_refused_by_field(settings: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"runtime.tensorboard: .* not installed"):
        run(settings | {"runtime": {"tensorboard": True}})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"runtime.accelerator: cuda"):
        run(settings | {"runtime": {"accelerator": "cuda"}})


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "broken.safetensors"
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_model(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors: not a readable"):
        load_model(path)


def test_people_of_several_sets_share_one_skeleton(data: Path, settings: dict):
    lspet = {"annotations": data / "lspet/val.json", "images": data / "lspet/val"}
    config = parse_train_config(settings | {"train": [lspet | {"extent_boxes": True}]})
    people = load_people(config.train[:1], COCO17)
    assert people.keypoints.shape == (900, 17, 3)
    assert (people.keypoints[:, :5, 2] == 0).all()  # LSP labels no face


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 3}, ConfigError, "epochs: Extra inputs"),
        ({"optimizer": {"batch_size": 1}}, ConfigError, "batch_size.*greater than or equal to 2"),
        ({"keypoint_set": "coco18"}, ConfigError, "unknown keypoint set"),
        ({"model": {"backbone": {"kind": "magic"}}}, ConfigError, "model.backbone"),
        ({"train": []}, ConfigError, "train"),
    ],
)
def test_a_wrong_configuration_is_refused_by_field(
    settings: dict, change: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        parse_train_config(settings | change)


def test_a_missing_network_or_set_is_refused_by_path(settings: dict):
    backbone = settings["model"]["backbone"] | {"path": "none.onnx"}
    with pytest.raises(BackboneError, match=r"none\.onnx does not exist"):
        run(settings | {"model": settings["model"] | {"backbone": backbone}})
    with pytest.raises(DatasetError, match=r"none\.json"):
        run(settings | {"val": settings["val"] | {"annotations": "none.json"}})


def test_yaml_takes_the_environment_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run.yaml"
    path.write_text("task: pose\noutput: ${PLACE}/run\noptimizer: {epochs: 3}\n")
    monkeypatch.setenv("PLACE", "/somewhere")
    content = read_yaml(path, ["optimizer.epochs=5", "model.resolution=32"])
    assert content["output"] == "/somewhere/run"
    assert content["optimizer"] == {"epochs": 5}
    assert content["model"] == {"resolution": 32}
    monkeypatch.delenv("PLACE")
    with pytest.raises(ConfigError, match="PLACE is not set"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")


def test_the_bundled_presets_are_valid(monkeypatch: pytest.MonkeyPatch):
    paths = list((Path(__file__).parents[2] / "training/configs").glob("*.yaml"))
    for name in {name for path in paths for name in re.findall(r"\$\{(\w+)\}", path.read_text())}:
        monkeypatch.setenv(name, "/somewhere")
    contents = [read_yaml(path) for path in paths]
    outputs = {parse_train_config(c).output.name for c in contents if c["task"] == "pose"}
    assert {"pose_64", "pose_64_upscaled", "lowres_pose", "hrnet_w18_small_64"} <= outputs
