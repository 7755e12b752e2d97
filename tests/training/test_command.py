"""The commands of the README's training section, on a tiny set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from farpose.cli import main
from farpose.keypoints import COCO17
from farpose_training.blend import blend
from farpose_training.checkpoint import CheckpointError, load_model, save_model
from farpose_training.compact import compact
from farpose_training.config import ModelConfig
from farpose_training.config.base import merged
from farpose_training.models.network import PoseNet
from farpose_training.run_state import alone_in


class Ended(NamedTuple):
    code: int
    output: str
    errors: str


@pytest.fixture
def farpose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """The command line, run in this process: importing torch anew for each call takes seconds."""

    def run(*arguments: object) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["farpose", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


Farpose = Callable[..., Ended]


def test_train_evaluate_export(
    farpose: Farpose, settings: dict, stick_people: Path, tmp_path: Path
):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    done = farpose("train", "run.yaml", "--set", "optimizer.epochs=1")
    assert done.code == 0, done.errors
    checkpoint = Path(done.output.split()[-1])
    assert "100%" in done.errors  # a progress bar

    people = ["--annotations", stick_people / "people.json", "--images", stick_people]
    done = farpose("evaluate", checkpoint, *people, "--boxes", "truth", "--json")
    assert done.code == 0, done.errors
    scores = json.loads(done.output.splitlines()[-1])
    assert 0 <= scores["PCK@0.2"] <= 1

    done = farpose("export", checkpoint, "--repository", "mine")
    assert done.code == 0, done.errors
    exported = tmp_path / "mine/lowres_pose"
    done = farpose("evaluate", exported, *people, "--boxes", "truth", "--json")
    assert done.code == 0, done.errors
    again = json.loads(done.output.splitlines()[-1])
    assert abs(again["PCK@0.2"] - scores["PCK@0.2"]) < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model": {"head": {"kind": "simcc", "split_factor": 5}}},
            "are no multiple of the student",
        ),
        ({"model": {"head": {"kind": "heatmap"}}}, "a heatmap head has no classes to align"),
        ({"distillation": {"logit": {"kind": "same_class_number"}}}, "set model.head.split_factor"),
        ({"optimizer": {"batch_size": 25}}, "24 people do not fill one batch of 25"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_view_is_rendered(
    farpose: Farpose, settings: dict, tmp_path: Path, change: dict, message: str
):
    larger = ModelConfig.model_validate(settings["model"] | {"resolution": 64})
    save_model(tmp_path / "teacher.safetensors", PoseNet(larger, 17), COCO17, {})
    distilled = settings | {
        "distillation": {"teacher": "teacher.safetensors"},
        "bank": {"folder": "bank"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(merged(distilled, change)))
    done = farpose("train", "run.yaml")
    assert done.code == 1
    assert message in done.errors.replace("\n", " ")
    assert not list(tmp_path.glob("bank/*.npy"))


def test_two_trainings_do_not_share_a_folder(farpose: Farpose, settings: dict, tmp_path: Path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    with alone_in(tmp_path / "run"):
        done = farpose("train", "run.yaml")
        assert done.code == 1
        assert f"another farpose train is at work in {tmp_path / 'run'}" in done.errors
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
    assert farpose("train", "run.yaml", "--set", "optimizer.epochs=1").code == 0


def test_mistakes_end_in_one_line(
    farpose: Farpose, settings: dict, stick_people: Path, tmp_path: Path
):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings | {"sigma": 3}))
    (tmp_path / "task.yaml").write_text("task: cooking")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    people = ["--annotations", stick_people / "people.json", "--images", stick_people]
    for arguments, message in [
        (["train", "none.yaml"], "none.yaml: cannot be read"),
        (["train", "run.yaml"], "sigma: Extra inputs are not permitted"),
        (["train", "task.yaml"], "use pose or person_detector"),
        (["export", "cut.safetensors", "--repository", "r"], "not a readable safetensors"),
        (["evaluate", "none.onnx", *people], "none.onnx"),
    ]:
        done = farpose(*arguments)
        assert done.code == 1
        assert "Traceback" not in done.errors
        assert message in done.errors.replace("\n", " ")
    assert not (tmp_path / "r").exists()


def test_a_compact_checkpoint_is_half_the_size_and_says_nearly_the_same(
    settings: dict, tmp_path: Path
):
    torch.manual_seed(0)
    network = PoseNet(ModelConfig.model_validate(settings["model"]), 17).eval()
    large, small = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    save_model(large, network, COCO17, {"training_data": "none"})
    compact(large, small)
    assert small.stat().st_size < 0.6 * large.stat().st_size
    loaded = load_model(small)
    assert loaded.facts == {"training_data": "none"}
    crops = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    difference = (loaded.model(crops).x - network(crops).x).abs().max()
    assert 0 < difference < 0.05
    assert all(p.dtype == torch.float32 for p in loaded.model.parameters())


def test_a_blend_lies_between_two_checkpoints_of_one_network(settings: dict, tmp_path: Path):
    paths = [tmp_path / f"{name}.safetensors" for name in ("start", "trained", "blend")]
    networks = []
    for seed, path in enumerate(paths[:2]):
        torch.manual_seed(seed)
        settings["model"]["head"]["sigma"] = 2.0 + seed
        networks.append(PoseNet(ModelConfig.model_validate(settings["model"]), 17))
        facts = {"training_data": "none", "pck_0.2": f"0.{seed}"}
        save_model(path, networks[-1], COCO17, facts)
    blend(*paths, part=0.25)
    found = load_model(paths[2])
    assert found.facts.keys() == {"training_data", "blend"}  # nobody has scored it
    assert found.model.config.head.sigma == 2.25
    for name, value in found.model.state_dict().items():
        one, other = (network.state_dict()[name] for network in networks)
        expected = one + 0.25 * (other - one) if value.is_floating_point() else other
        torch.testing.assert_close(value, expected)

    wider = settings["model"]
    wider["resolution"] *= 2
    save_model(paths[1], PoseNet(ModelConfig.model_validate(wider), 17), COCO17, {})
    with pytest.raises(CheckpointError, match="are different networks"):
        blend(*paths)
