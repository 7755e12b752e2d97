from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose import pipeline
from farpose.crop import crop_people
from farpose.engine import EngineError, ModelMetadata, TensorInfo, Tensors, UnknownModelError
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.engines.repository import onnx_models
from farpose.geometry import BoxError, CropGeometry
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose.repository import RepositoryError
from tests.labels.score import RIGHT, joint_errors

BOXES = "10,20,40,90;30.5,5,60,70"


class DotEngine:
    """Detects one person where told, and sees every joint in the middle of the crop."""

    def __init__(self, boxes: list[list[float]], max_batch_size: int = 2) -> None:
        self.boxes = boxes
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.crops: list[np.ndarray] = []
        self._max_batch_size = max_batch_size

    async def metadata(self, model: str) -> ModelMetadata:
        crops = TensorInfo("crops", np.dtype(np.uint8), (None, 64, 64, 3))
        outputs = tuple(
            TensorInfo(name, np.dtype(np.float32), (None, 17))
            for name in ("keypoints", "scores", "variances")
        )
        facts = {"keypoint_set": "coco17"}
        return ModelMetadata(model, "7", (crops,), outputs, self._max_batch_size, facts)

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        (array,) = inputs.values()
        self.calls.append((model, array.shape))
        if model == "person_detector":
            boxes, scores = np.zeros((1, 100, 4), np.float32), np.zeros((1, 100), np.float32)
            boxes[0, : len(self.boxes)] = np.reshape(self.boxes, (-1, 4))
            scores[0, : len(self.boxes)] = 0.9 - 0.1 * np.arange(len(self.boxes))
            return {"boxes": boxes, "scores": scores}
        self.crops.append(array)
        size = len(array)
        return {
            "keypoints": np.full((size, 17, 2), 32, np.float32),
            "scores": np.full((size, 17), 0.5, np.float32),
            "variances": np.ones((size, 17, 2), np.float32),
        }


def find(engine: object, picture: object, **options: object):
    return asyncio.run(PosePipeline(engine)(picture, PoseOptions(**options)))


def picture(width: int = 640, height: int = 480) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_keypoints_are_mapped_to_the_frame():
    result = find(DotEngine([[100, 200, 140, 300]]), picture())
    (person,) = result.people.to_list(variances=True)
    # The middle of the crop, index 32, is the centre of the box, 120, 250, as an index.
    assert person["keypoints"][0] == [119.5, 249.5, 0.5]
    # A crop pixel is 100 * 1.25 / 64 frame pixels wide.
    assert person["variances"][0] == pytest.approx([(125 / 64) ** 2] * 2, abs=1e-3)
    assert result.models == {"lowres_pose": "7", "person_detector": "7"}
    assert set(result.timing_ms) == {"letterbox", "detector", "crop", "pose", "total"}


def test_detections_map_back_through_the_letterbox():
    engine = DotEngine([[50, 100, 70, 150]])
    result = find(engine, picture(1280, 720), detector_size=640)
    assert engine.calls[0] == ("person_detector", (1, 384, 640, 3))
    assert result.people.boxes[0] == pytest.approx([100, 200, 140, 300])


def test_nobody_runs_no_pose_model():
    engine = DotEngine([])
    result = find(engine, picture())
    assert len(result.people) == 0
    assert [model for model, _ in engine.calls] == ["person_detector"]


def test_given_boxes_skip_the_detector():
    engine = DotEngine([])
    result = find(engine, picture(), boxes=BOXES)
    assert [model for model, _ in engine.calls] == ["lowres_pose"]
    assert result.people.scores.tolist() == [1, 1]
    assert result.people.boxes.tolist() == [[10, 20, 40, 90], [30.5, 5, 60, 70]]


def test_pixels_are_touched_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    beside: dict[str, bool] = {}

    def watched(name: str) -> None:
        work = getattr(pipeline, name)

        def watch(*arguments: object) -> object:
            beside[name] = threading.current_thread() is not threading.main_thread()
            return work(*arguments)

        monkeypatch.setattr(pipeline, name, watch)

    for name in ("decode_image", "letterbox", "crop_people"):
        watched(name)
    _, encoded = cv2.imencode(".jpg", picture())
    assert len(find(DotEngine([[10, 20, 40, 90]]), encoded.tobytes()).people) == 1
    assert beside == {"decode_image": True, "letterbox": True, "crop_people": True}


def test_crops_are_the_reference_crops_to_the_byte():
    engine, frame = DotEngine([]), picture()
    find(engine, frame, boxes=BOXES)
    boxes = [[10, 20, 40, 90], [30.5, 5, 60, 70]]
    expected = crop_people(frame, CropGeometry.from_boxes(boxes), 64)
    assert (engine.crops[0] == expected).all()


def test_many_people_are_split_at_the_models_batch_size():
    engine = DotEngine([[10 * i, 10, 10 * i + 9, 40] for i in range(5)], max_batch_size=2)
    result = find(engine, picture())
    assert [shape[0] for model, shape in engine.calls if model == "lowres_pose"] == [2, 2, 1]
    assert len(result.people) == 5


@pytest.mark.parametrize(
    ("options", "people"),
    [
        ({"detection_threshold": 0.75}, 2),  # scores are 0.9, 0.8, 0.7
        ({"max_people": 1}, 1),  # the surest first
        ({"detection_threshold": 1.0}, 0),
    ],
)
def test_thresholds_and_limits(options: dict, people: int):
    engine = DotEngine([[10, 10, 40, 90], [50, 10, 80, 90], [90, 10, 120, 90]])
    found = find(engine, picture(), **options).people
    assert len(found) == people
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_a_keypoint_threshold_zeroes_joints():
    people = find(DotEngine([[10, 10, 40, 90]]), picture(), keypoint_threshold=0.6).people
    assert (people.keypoints == 0).all()


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("5,5,5,9", "box 0 is"),
        ("0,0,9,9;700,5,710,9", "box 1 .* outside the 640x480 picture"),
        ("-20,5,0,9", "outside"),
    ],
)
def test_boxes_without_area_in_the_picture_are_refused(boxes: str, message: str):
    with pytest.raises(BoxError, match=message):
        find(DotEngine([]), picture(), boxes=boxes)


@pytest.fixture(scope="module")
def engine(repository: Path):
    with OnnxRuntimeEngine(repository) as engine:
        yield engine


def test_an_unknown_model_is_refused_with_those_there_are(engine: OnnxRuntimeEngine):
    with pytest.raises(UnknownModelError, match=r"no model 'x': .*lowres_pose"):
        find(engine, picture(), pose_model="x")


def test_the_detector_is_no_pose_model(engine: OnnxRuntimeEngine):
    with pytest.raises(EngineError, match="person_detector is not a pose model"):
        find(engine, picture(), pose_model="person_detector")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes the inputs"),
        ({"crops": np.zeros((1, 32, 32, 3), np.uint8)}, "crops is uint8"),
        ({"crops": np.zeros((1, 64, 64, 3), np.float32)}, "not float32"),
        ({"crops": np.zeros((0, 64, 64, 3), np.uint8)}, "1 to 64 items, not 0"),
        ({"crops": np.zeros((65, 64, 64, 3), np.uint8)}, "1 to 64 items, not 65"),
    ],
)
def test_wrong_inputs_are_refused_before_they_run(
    engine: OnnxRuntimeEngine, inputs: Tensors, message: str
):
    with pytest.raises(EngineError, match=message):
        asyncio.run(engine.infer("lowres_pose", inputs))


def test_a_grey_wall_has_nobody_on_it(engine: OnnxRuntimeEngine):
    assert len(find(engine, np.full((480, 640, 3), 128, np.uint8)).people) == 0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no model folder"),
        ({"m/config.pbtxt": "max_batch_size: many"}, "not a Triton model configuration"),
        ({"m/config.pbtxt": 'name: "other" backend: "onnxruntime"'}, "calls the model 'other'"),
        ({"m/config.pbtxt": 'backend: "onnxruntime"'}, "no version folder"),
        ({"m/config.pbtxt": 'backend: "onnxruntime"', "m/1/x": ""}, "model.onnx: no such file"),
    ],
)
def test_a_broken_repository_is_refused_by_path(tmp_path: Path, files: dict, message: str):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(RepositoryError, match=message):
        onnx_models(tmp_path)
    with pytest.raises(RepositoryError, match="no such model repository"):
        onnx_models(tmp_path / "none")


def test_a_damaged_model_is_refused_by_path(tmp_path: Path):
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/config.pbtxt").write_text('backend: "onnxruntime"')
    (tmp_path / "m/1/model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"m/1/model\.onnx: cannot be loaded"):
        OnnxRuntimeEngine(tmp_path)


def test_people_on_a_real_street_have_their_joints_in_place(engine: OnnxRuntimeEngine, bus: Path):
    """Against joints marked by hand: two of three people have 8 of 12 within 0.2 torso."""
    errors = joint_errors(find(engine, bus.read_bytes()).people)
    right = {name: sum(e <= RIGHT for e in joints.values()) for name, joints in errors.items()}
    assert sum(count >= 8 for count in right.values()) >= 2, right


def test_encoded_and_decoded_pictures_give_the_same_people(engine: OnnxRuntimeEngine, bus: Path):
    frame = cv2.imread(str(bus), cv2.IMREAD_COLOR_RGB)
    assert find(engine, frame).people.to_list() == find(engine, bus.read_bytes()).people.to_list()
