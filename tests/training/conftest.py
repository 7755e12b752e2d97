"""A tiny annotated set and a small ONNX network, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farpose.keypoints import COCO17


@pytest.fixture(scope="session")
def stick_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`people.json` and 24 pictures, each with one person drawn as white dots on grey."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(24):
        joints = rng.uniform(20, 100, (17, 2)).round()
        picture = np.full((120, 120, 3), 90, np.uint8)
        for x, y in joints.astype(int):
            cv2.circle(picture, (int(x), int(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 120})
        visible = np.full((17, 1), 2)
        visible[i % 17] = 0
        box = [*(joints.min(0) - 3), *(np.ptp(joints, axis=0) + 6)]
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "bbox": [float(v) for v in box]}
            | {"keypoints": np.hstack([joints, visible]).ravel().tolist()}
        )
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints)}
    (folder / "people.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]})
    )
    return folder


@pytest.fixture(scope="session")
def small_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file: four convolutions, strides 4 (`fine`) and 8 (`coarse`), and an unused tail."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []

    def convolution(source: str, target: str, channels: int, width: int, stride: int) -> None:
        kernel = rng.normal(0, 0.2, (width, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{target}.weight"))
        weights.append(numpy_helper.from_array(np.zeros(width, np.float32), f"{target}.bias"))
        inputs = [source, f"{target}.weight", f"{target}.bias"]
        strides = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", inputs, [f"{target}.raw"], name=target, **strides))
        nodes.append(helper.make_node("Relu", [f"{target}.raw"], [target]))

    convolution("image", "stem", 3, 8, 2)
    convolution("stem", "fine", 8, 8, 2)
    convolution("fine", "coarse", 8, 16, 2)
    convolution("coarse", "tail", 16, 16, 2)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("tail", TensorProto.FLOAT, None)],
        weights,
    )
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def settings(stick_people: Path, small_network: Path, tmp_path: Path) -> dict:
    """A configuration that trains in a second."""
    source = {"annotations": str(stick_people / "people.json"), "images": str(stick_people)}
    backbone = {"kind": "onnx", "path": str(small_network), "outputs": ["fine", "coarse"]}
    return {
        "task": "pose",
        "output": str(tmp_path / "run"),
        "threads": 1,
        "model": {
            "backbone": backbone | {"width": 8},
            "resolution": 32,
            "head": {"kind": "simcc", "split_factor": 2},
        },
        "train": [source],
        "val": source,
        "optimizer": {"batch_size": 8, "epochs": 2, "warmup_epochs": 0},
    }
