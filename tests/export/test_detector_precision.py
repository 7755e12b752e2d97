from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from farpose.letterbox import letterbox
from farpose_export.command import ExportOptionError
from farpose_export.detector import lowering
from farpose_export.detector.checkpoint import read_checkpoint
from farpose_export.detector.command import export_detector
from farpose_export.detector.mmdeploy import read_mmdeploy
from farpose_export.detector.network import DetectorError
from farpose_export.detector.step import DetectorStep, Found
from farpose_export.detector.wrapping import wrap
from farpose_export.gate.check import ParityError
from farpose_export.precise import LabelledFiles, MissingPeopleError, Precision, Target
from farpose_export.precision.fp16 import halved
from farpose_export.precision.int8 import quantized
from farpose_export.precision.layers import tail_nodes
from farpose_training.checkpoint import CheckpointError


@pytest.fixture(scope="module")
def weights(repository: Path) -> Path:
    return repository / "person_detector/checkpoint.safetensors"


@pytest.fixture(scope="module")
def few(data: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelledFiles:
    """Two labelled pictures."""
    folder = tmp_path_factory.mktemp("few")
    labels = json.loads((data / "coco_mini/val.json").read_text())
    labels["images"] = labels["images"][:2]
    chosen = {picture["id"] for picture in labels["images"]}
    labels["annotations"] = [one for one in labels["annotations"] if one["image_id"] in chosen]
    (folder / "images").mkdir()
    for picture in labels["images"]:
        shutil.copy(data / "coco_mini/val" / picture["file_name"], folder / "images")
    (folder / "few.json").write_text(json.dumps(labels))
    return LabelledFiles(folder / "few.json", folder / "images")


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_gives_the_bundled_graph(weights: Path):
    graph, _ = read_checkpoint(weights)
    bundled = onnx.load(str(weights.with_name("1") / "model.onnx"))
    assert graph.graph == bundled.graph


def test_the_bundled_detector_is_published_in_half_precision(
    weights: Path, few: LabelledFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    export_detector(
        weights,
        tmp_path,
        next(few.images.iterdir()),
        precision=Precision.FP16,
        annotations=few.annotations,
        images=few.images,
    )
    assert "fp32 to fp16: recall of " in capsys.readouterr().out
    folder = tmp_path / "person_detector"
    assert (folder / "checkpoint.safetensors").read_bytes() == weights.read_bytes()
    parity = json.loads((folder / "1/parity.json").read_text())
    (step,) = parity["steps"]
    assert (parity["precision"], parity["people_set"]) == ("fp16", "few.json")
    assert parity["missed"] == 0
    assert step["pictures"] == 4
    assert step["before"]["recall"] > 0.5
    assert step["points_lost"] <= step["limits"]["points"] == 0.2
    assert step["agreeing"] >= 0.95 * step["detections"] > 0

    graph = onnx.load(str(folder / "1/model.onnx"))
    onnx.checker.check_model(graph, full_check=True)
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert facts["precision"] == "fp16"
    assert facts["parity"].startswith("fp32 to fp16: ")
    kinds = {tensor.name: tensor.type.tensor_type.elem_type for tensor in graph.graph.output}
    assert kinds == {"boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT}
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    bundled = weights.with_name("1") / "model.onnx"
    assert (folder / "1/model.onnx").stat().st_size < 0.6 * bundled.stat().st_size
    tail = tail_nodes(onnx.load(str(bundled)))
    after = [node for node in graph.graph.node if node.name in set(tail)]
    assert len(after) == len(tail)
    assert not [node for node in after if node.op_type == "Cast" and node.attribute[0].i == 10]


def test_int8_of_the_bundled_detector_is_refused_and_the_repository_stays(
    weights: Path, few: LabelledFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[onnx.ModelProto] = []

    def seen(*arguments: object) -> onnx.ModelProto:
        made.append(quantized(*arguments))
        return made[0]

    monkeypatch.setattr(lowering, "quantized", seen)
    shutil.copytree(weights.parent, tmp_path / "person_detector")
    before = files_of(tmp_path)
    with pytest.raises(
        ParityError,
        match=r"int8 finds fewer people than fp32: loss of recall \d[\d.]* points is above 0.5 "
        r"points .*; nothing was written, --precision fp32 passes",
    ):
        export_detector(
            weights,
            tmp_path,
            next(few.images.iterdir()),
            precision=Precision.INT8,
            target=Target.TENSORRT,
            annotations=few.annotations,
            images=few.images,
            calibration_images=next(few.images.iterdir()),
        )
    assert files_of(tmp_path) == before

    # What was refused is of the right kind: symmetric integers that end before the boxes.
    (low,) = made
    values = {w.name: numpy_helper.to_array(w) for w in low.graph.initializer}
    zeros = [values[n.input[2]] for n in low.graph.node if n.op_type == "QuantizeLinear"]
    assert len(zeros) > 50
    assert all(zero.dtype == np.int8 and (zero == 0).all() for zero in zeros)
    tail = set(tail_nodes(read_checkpoint(weights)[0]))
    made_in_tail = {name for n in low.graph.node if n.name in tail for name in n.output}
    quantised = {n.input[0] for n in low.graph.node if n.op_type == "QuantizeLinear"}
    assert made_in_tail.isdisjoint(quantised)


def test_a_brought_detector_keeps_its_contract_in_half_precision(data: Path, real_people: list):
    full = wrap(read_mmdeploy(data / "detector/rtmdet_nano.onnx"))
    low = halved(full, tail_nodes(full))
    picture = letterbox(real_people[0][0], 320).image[None]
    found = [
        ort.InferenceSession(g.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            ["boxes", "scores"], {"images": picture}
        )
        for g in (full, low)
    ]
    sure = found[0][1][0] > 0.5
    assert sure.any()
    assert np.abs(found[0][1] - found[1][1])[0, sure].max() < 0.01
    assert np.abs(found[0][0] - found[1][0])[0, sure].max() < 1


def test_the_limits_are_those_of_recall():
    found = Found(recall=0.9, false_boxes=10, recall_at_price=0.9)
    step = DetectorStep("fp16", 2, 1000, found, found, 20, 20)
    assert step.failures() == []
    worse = replace(step, after=replace(found, recall=0.897))
    assert worse.failures() == ["loss of recall 0.3 points is above 0.2 points"]
    assert replace(worse, target="int8").failures() == []
    dearer = replace(step, target="int8", after=replace(found, recall_at_price=0.89))
    assert dearer.failures() == ["loss of recall 1 points is above 0.5 points"]


LABELLED = {"annotations": Path("a.json"), "images": Path("a")}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, DetectorError, "give --pictures"),
        ({"precision": Precision.FP16}, MissingPeopleError, "give --annotations and --images"),
        ({"images": Path("a")}, ExportOptionError, "--images is given without --annotations"),
        (
            {"precision": Precision.INT8, **LABELLED},
            MissingPeopleError,
            "give --calibration-images, others than --images",
        ),
    ],
)
def test_what_is_missing_is_named(
    weights: Path, tmp_path: Path, options: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        export_detector(weights, tmp_path / "r", **options)
    assert not (tmp_path / "r").exists()


def test_a_folder_without_pictures_to_calibrate_on_is_named(
    weights: Path, few: LabelledFiles, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DetectorError, match="empty: has no pictures"):
        export_detector(
            weights,
            tmp_path / "r",
            next(few.images.iterdir()),
            precision=Precision.INT8,
            annotations=few.annotations,
            images=few.images,
            calibration_images=tmp_path / "empty",
        )
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_of_a_pose_model_is_refused(trained: Path, few: LabelledFiles, tmp_path: Path):
    with pytest.raises(CheckpointError, match="its format is 'farpose-pose-2'"):
        export_detector(trained, tmp_path / "r", few.images)
    assert not (tmp_path / "r").exists()
