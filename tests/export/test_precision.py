from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from farpose.engines.repository import onnx_models
from farpose_export.command import ExportOptionError, export
from farpose_export.gate.check import ParityError
from farpose_export.gate.outputs import onnx_network
from farpose_export.graph import to_onnx
from farpose_export.precise import (
    Int8Layers,
    LabelledFiles,
    MissingPeopleError,
    Precision,
    Target,
    export_pose,
)
from farpose_export.precision.fp16 import to_fp16
from farpose_export.precision.int8 import NothingToQuantizeError, Quantizer
from farpose_export.precision.layers import LONG_SUM, layers_of, long_sums
from farpose_training.checkpoint import load_model, save_model


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> onnx.ModelProto:
    return to_onnx(load_model(checkpoint).model, 17, {"precision": "fp32"})


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Crops of nobody."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)


def test_layers_cover_everything_but_the_decoder(graph: onnx.ModelProto):
    layers = layers_of(graph)
    covered = [name for layer in layers for name in layer.nodes]
    expected = [n.name for n in graph.graph.node if not n.name.startswith("/decoder/")]
    assert covered == expected
    weighted = sum(node.op_type in ("Conv", "MatMul", "Gemm") for node in graph.graph.node)
    assert len(layers) == weighted + 1  # the normalisation comes before all weights


def test_half_precision_keeps_tensors_of_the_contract_and_the_decoder(
    graph: onnx.ModelProto, crops: np.ndarray
):
    half = to_fp16(graph)
    onnx.checker.check_model(half, full_check=True)
    assert [o.type.tensor_type.elem_type for o in half.graph.output] == [TensorProto.FLOAT] * 3
    kinds = Counter(weight.data_type for weight in half.graph.initializer)
    assert kinds[TensorProto.FLOAT16] > 50
    decoder = [node for node in half.graph.node if "/decoder/" in node.name]
    # Only the two predictions enter it through a cast; nothing inside it is rounded to halves.
    casts = [n for n in decoder if n.op_type == "Cast" and n.attribute[0].i == TensorProto.FLOAT16]
    assert casts == []
    assert len(half.SerializeToString()) < 0.6 * len(graph.SerializeToString())
    full, low = onnx_network(graph)(crops), onnx_network(half)(crops)
    moves = np.abs(full.keypoints - low.keypoints)
    assert 0 < np.median(moves[moves > 0]) < 1e-2


def test_layers_kept_in_fp32_are(graph: onnx.ModelProto, crops: np.ndarray):
    layers = layers_of(graph)
    same = onnx_network(to_fp16(graph, layers))(crops)
    assert np.array_equal(same.keypoints, onnx_network(graph)(crops).keypoints)
    kept = next(layer for layer in layers if "Conv" in layer.name)
    (node,) = [n for n in to_fp16(graph, [kept]).graph.node if n.name == kept.name]
    weights = {w.name: w.data_type for w in to_fp16(graph, [kept]).graph.initializer}
    assert weights[node.input[1]] == TensorProto.FLOAT


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_quantised_graphs_suit_what_runs_them(
    graph: onnx.ModelProto, crops: np.ndarray, target: str
):
    low = Quantizer(graph, crops, target)()
    onnx.checker.check_model(low)
    quantisers = [node for node in low.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantisers) > 50
    values = {w.name: numpy_helper.to_array(w) for w in low.graph.initializer}
    zeros = [values[node.input[2]] for node in quantisers]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.uint8 if target == "cpu" else np.int8)}
    if target == "tensorrt":
        assert all((zero == 0).all() for zero in zeros)
        biases = [w for w in low.graph.initializer if w.data_type == TensorProto.INT32]
        assert biases == []
    assert not [n.name for n in low.graph.node if "Quantize" in n.op_type and "decoder" in n.name]
    full, found = onnx_network(graph)(crops), onnx_network(low)(crops)
    moves = np.abs(full.keypoints - found.keypoints)
    assert 0 < np.median(moves[moves > 0]) < 0.3


def test_long_sums_alone_can_be_quantised(graph: onnx.ModelProto, crops: np.ndarray):
    low = Quantizer(graph, crops[:8], layers="long")()
    shapes = {w.name: tuple(w.dims) for w in graph.graph.initializer}
    quantised = {
        node.input[0].removesuffix("_quantized")
        for node in low.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("_quantized")
    } & shapes.keys()
    weights = {name: shapes[name] for name in quantised if len(shapes[name]) > 1}  # no biases
    assert len(weights) >= 5
    assert all(
        math.prod(shape[1:]) >= LONG_SUM if len(shape) == 4 else shape[0] >= LONG_SUM
        for shape in weights.values()
    )
    convolutions = [
        node.input[1]
        for node in graph.graph.node
        if node.op_type == "Conv" and math.prod(shapes[node.input[1]][1:]) >= LONG_SUM
    ]
    assert set(convolutions) <= quantised


def test_a_network_without_long_sums_is_refused(graph: onnx.ModelProto, crops: np.ndarray):
    short = onnx.ModelProto()
    short.CopyFrom(graph)
    long = long_sums(short)
    kept = [node for node in short.graph.node if node.name not in long]
    del short.graph.node[:]
    short.graph.node.extend(kept)
    with pytest.raises(NothingToQuantizeError, match=r"has no sum of 576 terms or more"):
        Quantizer(short, crops, layers="long")


@pytest.mark.parametrize("target", list(Target))
def test_a_model_is_published_in_int8_for_each_target(
    trained: Path, people: LabelledFiles, others: LabelledFiles, tmp_path: Path, target: Target
):
    version, report = export_pose(
        trained,
        tmp_path,
        "lowres_pose",
        Precision.INT8,
        target,
        people=people,
        calibration=others,
        int8_layers=Int8Layers.LONG,
        auto_fp32=True,
    )
    assert [step.target for step in report.steps] == ["fp32", "int8"]
    assert report.steps[1].failures() == []
    graph = onnx.load(str(version / "model.onnx"))
    facts = {p.key: p.value for p in graph.metadata_props}
    assert (facts["precision"], facts["int8_layers"]) == ("int8", "long")
    assert facts["calibration"] == others.annotations.name
    parity = json.loads((version / "parity.json").read_text())
    assert (parity["target"], parity["int8_layers"]) == (target.value, "long")
    values = {w.name: w for w in graph.graph.initializer}
    zeros = {
        values[node.input[2]].data_type
        for node in graph.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert zeros == {TensorProto.UINT8 if target is Target.CPU else TensorProto.INT8}
    largest = max(
        np.abs(numpy_helper.to_array(w).astype(int)).max()
        for w in values.values()
        if w.data_type == TensorProto.INT8 and len(w.dims) == 4
    )
    # Without VNNI, products of more than 7 bits overflow on a CPU.
    assert largest == (64 if target is Target.CPU else 127)


def test_layers_that_are_kept_are_not_quantised(graph: onnx.ModelProto, crops: np.ndarray):
    quantise = Quantizer(graph, crops)
    everything = quantise(layers_of(graph))
    assert not [node for node in everything.graph.node if node.op_type == "QuantizeLinear"]
    count = Counter(node.op_type for node in quantise(layers_of(graph)[:40]).graph.node)
    assert (
        0
        < count["QuantizeLinear"]
        < Counter(n.op_type for n in quantise().graph.node)["QuantizeLinear"]
    )


def test_a_model_is_published_in_half_precision(
    trained: Path, people: LabelledFiles, tmp_path: Path
):
    version, report = export_pose(
        trained, tmp_path, "lowres_pose", Precision.FP16, people=people, auto_fp32=True
    )
    assert version == tmp_path / "lowres_pose/1"
    assert [step.target for step in report.steps] == ["fp32", "fp16"]
    assert report.steps[1].before == report.steps[0].after
    assert report.steps[1].failures() == []
    parity = json.loads((version / "parity.json").read_text())
    assert parity["steps"][1]["limits"] == {"score": None, "moved": 0.005, "points": 0.2}
    facts = {p.key: p.value for p in onnx.load(str(version / "model.onnx")).metadata_props}
    assert facts["precision"] == "fp16"
    assert facts["parity"].startswith("fp32 to fp16: keypoints move ")
    assert facts["parity_set"] == people.annotations.name
    assert onnx_models(tmp_path)["lowres_pose"].version == 1


@pytest.fixture(scope="module")
def overflowing(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundled model with joint maps a million times as large, and answers as before."""
    loaded = load_model(repository / "lowres_pose_32/checkpoint.safetensors")
    with torch.no_grad():
        head = loaded.model.head
        head.joints.weight *= 1e6
        head.joints.bias *= 1e6
        for axis in (head.x, head.y):
            axis.weight /= 1e6
    path = tmp_path_factory.mktemp("overflow") / "checkpoint.safetensors"
    save_model(path, loaded.model, loaded.keypoint_set, {})
    return path


def test_an_overflow_is_refused_and_its_layer_named(
    overflowing: Path, people: LabelledFiles, tmp_path: Path
):
    with pytest.raises(
        ParityError, match=r"nothing was written; at fault are, .*, /model/head/joints"
    ):
        export_pose(overflowing, tmp_path / "r", "lowres_pose", Precision.FP16, people=people)
    assert not (tmp_path / "r").exists()


def test_the_layer_that_overflows_can_stay_in_fp32(
    overflowing: Path, people: LabelledFiles, tmp_path: Path
):
    said: list[str] = []
    _, report = export_pose(
        overflowing,
        tmp_path,
        "lowres_pose",
        Precision.FP16,
        people=people,
        auto_fp32=True,
        say=said.append,
    )
    assert any("joints" in name for name in report.kept_fp32)
    assert len(report.kept_fp32) <= 6
    assert report.steps[-1].failures() == []
    assert any("looking for the layers at fault" in text for text in said)


def test_int8_fitted_to_black_pictures_is_refused_and_the_repository_stays(
    trained: Path, people: LabelledFiles, others: LabelledFiles, tmp_path: Path
):
    black = tmp_path / "black"
    black.mkdir()
    for picture in others.images.iterdir():
        if picture.suffix == ".png":
            cv2.imwrite(str(black / picture.name), np.zeros_like(cv2.imread(str(picture))))
    fitted = LabelledFiles(others.annotations, black)
    with pytest.raises(ParityError, match="int8 disagrees with the fp32: loss of accuracy"):
        export_pose(
            trained,
            tmp_path / "r",
            "m",
            Precision.INT8,
            people=people,
            calibration=fitted,
            int8_layers=Int8Layers.LONG,
        )
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": Precision.FP16}, MissingPeopleError, "give --annotations and --images"),
        ({"annotations": Path("a.json")}, ExportOptionError, "--annotations is given without --im"),
        ({"images": Path("a")}, ExportOptionError, "--images is given without --annotations"),
        (
            {
                "precision": Precision.INT8,
                "annotations": Path("a.json"),
                "images": Path("a"),
            },
            MissingPeopleError,
            "give --calibration and --calibration-images",
        ),
    ],
)
def test_what_is_missing_is_named(
    checkpoint: Path, tmp_path: Path, options: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        export(checkpoint, tmp_path / "r", "lowres_pose", **options)
    assert not (tmp_path / "r").exists()
