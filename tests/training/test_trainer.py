from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.keypoints import COCO17
from farpose_training.checkpoint import CheckpointError, load_model, read_tensors
from farpose_training.config import ConfigError, parse_train_config, read_yaml
from farpose_training.data.boxes import detector_like_boxes
from farpose_training.data.people import load_people
from farpose_training.models.backbones import BackboneError
from farpose_training.optimization import TrainingError
from farpose_training.trainer import Trainer


def run(settings: dict, **optimizer: object) -> list[dict]:
    config = parse_train_config(settings | {"optimizer": settings["optimizer"] | optimizer})
    config.output.mkdir(parents=True, exist_ok=True)
    Trainer(config).run()
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


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(settings: dict, tmp_path: Path):
    whole = run(settings | {"output": str(tmp_path / "whole")}, epochs=3)
    resumed = settings | {"output": str(tmp_path / "resumed")}
    config = parse_train_config(resumed | {"optimizer": settings["optimizer"] | {"epochs": 3}})
    config.output.mkdir()
    stopped = Trainer(config)
    original = stopped._train_epoch

    def stop_in_the_second_epoch(bar):
        if stopped.epoch == 1:
            raise KeyboardInterrupt
        return original(bar)

    stopped._train_epoch = stop_in_the_second_epoch
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    again = run(resumed, epochs=3)
    assert [r["loss"] for r in again] == [r["loss"] for r in whole]
    states = [
        read_tensors(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "resumed")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


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


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_epoch(settings: dict):
    run(settings, epochs=1)
    with pytest.raises(TrainingError, match=r"epoch 2.*learning_rate"):
        run(settings, epochs=60, learning_rate=1e30)
    _, metadata = read_tensors(Path(settings["output"]) / "last.safetensors")
    assert metadata["epoch"] == "1"


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


def test_the_bundled_presets_are_valid(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FARPOSE_DATA", str(data))
    folder = Path(__file__).parents[2] / "training/configs"
    contents = [read_yaml(path) for path in folder.glob("*.yaml")]
    outputs = {parse_train_config(c).output.name for c in contents if c["task"] == "pose"}
    assert outputs == {"pose_64", "pose_64_upscaled", "lowres_pose", "hrnet_w18_small_64"}
