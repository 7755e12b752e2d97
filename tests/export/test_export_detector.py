from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.letterbox import letterbox
from farpose_export.detector.check import check_detector
from farpose_export.detector.command import export_detector
from farpose_export.detector.mmdeploy import read_mmdeploy
from farpose_export.detector.network import Detections, DetectorError
from farpose_export.detector.ultralytics import read_ultralytics
from farpose_export.detector.wrapping import wrap
from farpose_export.gate.check import ParityError
from tests.conftest import missing

UNTRAINED = Path(__file__).parent / "untrained_yolo.py"


@pytest.fixture(scope="module")
def rtmdet(data: Path) -> Path:
    return data / "detector/rtmdet_nano.onnx"


@pytest.fixture(scope="module")
def pictures(data: Path) -> Path:
    return data / "coco_mini/val"


def test_rtmdet_becomes_a_person_detector(
    rtmdet: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    export_detector(rtmdet, tmp_path, pictures)
    assert ", 0 of them by only one of the two" in capsys.readouterr().out
    parity = json.loads((tmp_path / "person_detector/1/parity.json").read_text())
    assert parity["people"] > 500
    assert parity["min_iou"] > 0.999
    assert parity["max_score"] < 1e-4
    engine = OnnxRuntimeEngine(tmp_path)
    facts = engine.loaded[0].properties
    engine.close()
    assert facts["source_weights"] == "rtmdet_nano.onnx"
    assert facts["source_sha256"] == parity["source_sha256"]
    assert facts["nms_iou"] == "0.6"
    assert facts["score_floor"] == "0.05"


def test_the_graph_keeps_the_contract(rtmdet: Path, real_people: list):
    graph = wrap(read_mmdeploy(rtmdet))
    assert graph.ir_version <= 10
    assert all(entry.version <= 20 for entry in graph.opset_import)
    assert [node.op_type for node in graph.graph.node[:2]] == ["Cast", "Transpose"]
    session = ort.InferenceSession(graph.SerializeToString())
    frame = letterbox(real_people[0][0], 320).image
    nobody = np.full_like(frame, 114)
    boxes, scores = session.run(None, {"images": np.stack([nobody, frame])})
    assert boxes.shape == (2, 100, 4)
    assert scores.shape == (2, 100)
    assert (np.diff(scores) <= 0).all()
    assert scores[1, 0] > 0.5
    assert scores[0, 0] < 0.5
    assert (boxes[scores == 0] == 0).all()
    assert (scores[scores > 0] > 0.05).all()


def test_a_detector_with_other_colours_is_refused(rtmdet: Path, real_people: list):
    network = read_mmdeploy(rtmdet)
    graph = wrap(network)
    for weight in graph.graph.initializer:
        if weight.name == "farpose_bgr":
            weight.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 1, 2]), weight.name))
    frames = [letterbox(frame, 320).image for frame, _ in real_people]
    with pytest.raises(ParityError, match=r"disagrees with the original: .*; nothing was written"):
        check_detector(graph, network.predict, frames)


def test_pictures_without_people_prove_nothing(rtmdet: Path):
    network = read_mmdeploy(rtmdet)
    with pytest.raises(ParityError, match="nobody is found in the 1 pictures"):
        check_detector(wrap(network), network.predict, [np.full((320, 320, 3), 114, np.uint8)])


def test_both_directions_are_compared(rtmdet: Path, real_people: list):
    network = read_mmdeploy(rtmdet)
    frames = [letterbox(frame, 320).image for frame, _ in real_people]

    def short_sighted(image: np.ndarray) -> Detections:
        found = network.predict(image)
        return Detections(found.boxes[:1], found.scores[:1])

    with pytest.raises(ParityError, match="disagrees"):
        check_detector(wrap(network), short_sighted, frames)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, "no such file"),
        ("gone.pt", None, "no such file"),
        ("text.onnx", b"no network", "not a readable ONNX file"),
        ("weights.h5", b"", r"\.safetensors\), Ultralytics weights \(\.pt\) or an MMDeploy export"),
    ],
)
def test_what_is_no_detector_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DetectorError, match=message):
        export_detector(path, tmp_path / "r", tmp_path)
    assert not (tmp_path / "r").exists()


def test_another_onnx_model_is_no_detector(repository: Path, tmp_path: Path):
    pose = repository / "lowres_pose/2/model.onnx"
    with pytest.raises(DetectorError, match="its outputs are keypoints, scores, variances"):
        export_detector(pose, tmp_path / "r", tmp_path)


def test_a_folder_without_pictures_is_named(rtmdet: Path, tmp_path: Path):
    with pytest.raises(DetectorError, match="has no pictures"):
        export_detector(rtmdet, tmp_path / "r", tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DetectorError, match=r"broken.jpg"):
        export_detector(rtmdet, tmp_path / "r", tmp_path)


def test_ultralytics_is_asked_for_with_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(DetectorError, match=r"AGPL-3.0 .* pip install --no-deps ultralytics "):
        read_ultralytics(tmp_path / "weights.pt")


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package can be imported; it is not installed beside ours."""
    target = tmp_path_factory.mktemp("ultralytics")
    packages = ("ultralytics>=8.4,<8.5", "ultralytics-thop", "py-cpuinfo")
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "pip", "install", "--python", sys.executable, "--target", target, "--no-deps"]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"ultralytics cannot be fetched: {done.stderr.strip()[-200:]}")
    settings = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    settings["YOLO_CONFIG_DIR"] = str(tmp_path_factory.mktemp("settings"))
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(paths)}


# Trained weights cannot be fetched from a package registry; untrained ones see people everywhere.
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])  # with suppression, and without
def test_ultralytics_weights_become_a_person_detector(
    name: str, ultralytics: dict[str, str], pictures: Path, tmp_path: Path
):
    weights = tmp_path / f"{name}.pt"
    for command in (
        [sys.executable, UNTRAINED, name, pictures, weights],
        [
            *(sys.executable, "-m", "farpose.cli", "export-detector", weights),
            *("--repository", tmp_path / "r", "--pictures", pictures),
        ],
    ):
        done = subprocess.run(command, env=ultralytics, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "licence of these weights: AGPL-3.0" in done.stdout
    parity = json.loads((tmp_path / "r/person_detector/1/parity.json").read_text())
    assert parity["people"] > 1000
    assert parity["missed"] <= 0.005 * parity["people"]
    graph = onnx.load(str(tmp_path / "r/person_detector/1/model.onnx"))
    facts = {p.key: p.value for p in graph.metadata_props}
    assert facts["license"].startswith("AGPL-3.0")
    assert facts["source_weights"] == weights.name


@pytest.mark.parametrize(
    ("network", "message"),
    [("yolo11n-seg", "a model for segment, not for detection"), ("other", "not weights that")],
)
def test_other_weights_are_refused(
    network: str, message: str, ultralytics: dict[str, str], tmp_path: Path
):
    weights = tmp_path / "weights.pt"
    make = f"from ultralytics import YOLO; YOLO('{network}.yaml').save(r'{weights}')"
    if network == "other":
        torch.save({"model": 1}, weights)
    else:
        subprocess.run([sys.executable, "-c", make], env=ultralytics, check=True)
    arguments = [weights, "--repository", tmp_path / "r", "--pictures", tmp_path]
    command = [sys.executable, "-m", "farpose.cli", "export-detector", *arguments]
    done = subprocess.run(command, env=ultralytics, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "r").exists()
