from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from farpose.engines.repository import onnx_models
from farpose.keypoints import COCO17
from farpose_export.command import export
from farpose_export.gate.check import ParityError, check_fp32
from farpose_export.graph import to_onnx
from farpose_export.repository import RepositoryWriteError
from farpose_training.checkpoint import load_model, save_model
from farpose_training.config import ModelConfig
from farpose_training.models.network import PoseNet


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained HRNet student."""
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"backbone": {"kind": "timm", "name": "hrnet_w18_small"}})
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    save_model(path, PoseNet(config, 17).eval(), COCO17, {"training_data": "none"})
    return path


def test_export_adds_a_version_that_the_engine_reads(checkpoint: Path, tmp_path: Path):
    export(checkpoint, tmp_path, "lowres_pose")
    export(checkpoint, tmp_path, "lowres_pose")
    model = onnx_models(tmp_path)["lowres_pose"]
    assert model.version == 2
    assert model.max_batch_size == 64
    assert sorted(p.name for p in (tmp_path / "lowres_pose").iterdir()) == [
        "1",
        "2",
        "checkpoint.safetensors",
        "config.pbtxt",
        "keypoints.txt",
    ]
    parity = json.loads((tmp_path / "lowres_pose/2/parity.json").read_text())
    (step,) = parity["steps"]
    assert step["max_score"] < 1e-4
    assert step["failures"] == []
    model_file = (tmp_path / "lowres_pose/2/model.onnx").read_bytes()
    assert parity["model_sha256"] == hashlib.sha256(model_file).hexdigest()


def test_the_graph_keeps_the_contract(checkpoint: Path, tmp_path: Path):
    export(checkpoint, tmp_path, "lowres_pose")
    path = tmp_path / "lowres_pose/1/model.onnx"
    graph = onnx.load(str(path))
    assert graph.ir_version <= 10
    assert all(o.version <= 20 for o in graph.opset_import)
    assert [node.op_type for node in graph.graph.node[:2]] == ["Cast", "Transpose"]
    session = ort.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["keypoint_set"] == "coco17"
    assert facts["score"] == "normalized"
    assert facts["training_data"] == "none"
    for size in (1, 2, 64):
        crops = np.zeros((size, 64, 64, 3), np.uint8)
        shapes = [o.shape for o in session.run(None, {"crops": crops})]
        assert shapes == [(size, 17, 2), (size, 17), (size, 17, 2)]


@pytest.mark.parametrize("head", [{"kind": "heatmap"}, {"kind": "cal"}, {"kind": "rle"}])
def test_other_heads_are_exported_too(head: dict[str, str], tmp_path: Path):
    config = ModelConfig.model_validate(
        {"backbone": {"kind": "timm", "name": "hrnet_w18_small"}, "resolution": 32, "head": head}
    )
    save_model(tmp_path / "c.safetensors", PoseNet(config, 17).eval(), COCO17, {})
    export(tmp_path / "c.safetensors", tmp_path / "repository", "lowres_pose")
    graph = onnx.load(str(tmp_path / "repository/lowres_pose/1/model.onnx"))
    facts = {p.key: p.value for p in graph.metadata_props}
    assert facts["head"] == head["kind"]
    assert "split_factor" not in facts


def test_the_configuration_is_tritons(checkpoint: Path, tmp_path: Path):
    export(checkpoint, tmp_path, "lowres_pose_32")
    text = (tmp_path / "lowres_pose_32/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == "lowres_pose_32"
    assert [tuple(i.dims) for i in config.input] == [(64, 64, 3)]
    assert {o.name for o in config.output} == {"keypoints", "scores", "variances"}


def test_a_graph_without_its_normalisation_is_refused(checkpoint: Path):
    loaded = load_model(checkpoint)
    other = load_model(checkpoint).model
    other.mean.zero_()
    graph = to_onnx(other, 17, {})
    with pytest.raises(ParityError, match="fp32 disagrees with the checkpoint"):
        check_fp32(loaded.model, graph)


def test_another_model_of_that_name_is_left_alone(checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "lowres_pose"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('name: "lowres_pose" backend: "python"')
    with pytest.raises(RepositoryWriteError, match="describes another model"):
        export(checkpoint, tmp_path, "lowres_pose")
    assert [p.name for p in folder.iterdir()] == ["config.pbtxt"]


@pytest.mark.parametrize("model", ["lowres_pose", "person_detector"])
def test_bundled_models_are_whole(repository: Path, model: str):
    folder = repository / model
    path = onnx_models(repository)[model].path
    onnx.checker.check_model(onnx.load(str(path)))
    assert (folder / "README.md").is_file()
    for file in (path, folder / "checkpoint.safetensors"):
        assert file.stat().st_size <= 8 * 2**20


def test_the_bundled_pose_model_is_its_checkpoint(repository: Path):
    loaded = load_model(repository / "lowres_pose/checkpoint.safetensors")
    graph = onnx.load(str(onnx_models(repository)["lowres_pose"].path))
    check_fp32(loaded.model, graph)  # raises when they disagree
