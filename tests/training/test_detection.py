"""Fine-tuning and exporting the person detector.

Most tests start from the bundled checkpoint; those that compare with RTMDet's own file need the
data folder.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from farpose.evaluation.detection import LabelledPicture
from farpose.geometry import box_iou
from farpose.letterbox import letterbox
from farpose_training.checkpoint import CheckpointError, read_tensors
from farpose_training.config import ConfigError
from farpose_training.detection.assign import assign
from farpose_training.detection.config import MosaicConfig, parse_config
from farpose_training.detection.data import MosaicDataset
from farpose_training.detection.export import build_onnx
from farpose_training.detection.labels import PictureLabels, decide, merge_views
from farpose_training.detection.losses import Targets, detection_loss, giou, quality_focal_loss
from farpose_training.detection.model import PersonDetector
from farpose_training.detection.report import compare, write_tables
from farpose_training.detection.sources import SourcePicture, read_rgb
from farpose_training.detection.tail import DETECTIONS, NMS_IOU, SCORE_FLOOR
from farpose_training.detection.train import prepare, run
from farpose_training.run_state import alone_in

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "model_repository" / "person_detector" / "checkpoint.safetensors"
DATA = ROOT / os.environ.get("FARPOSE_DATA", "../shared/data")
needs_data = pytest.mark.skipif(
    not (DATA / "detector" / "rtmdet_nano.onnx").is_file(),
    reason=f"no development data at {DATA} (set FARPOSE_DATA)",
)


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString())


def _blobs(seed: int, height: int = 128, width: int = 192) -> np.ndarray:
    """A noisy picture with structure at several scales, `[H,W,3]`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 32, width // 32, 3), dtype=np.uint8)
    fine = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    return cv2.add(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), fine)


@pytest.fixture(scope="module")
def model() -> PersonDetector:
    return PersonDetector.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope="module")
def talkative() -> PersonDetector:
    """The bundled model with raised logits: even noise gives boxes."""
    model = PersonDetector.from_checkpoint(CHECKPOINT)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("bias") and value.numel() == 1:  # the three classification layers
            value += 2.5
    return model


# The served graph


def test_graph_starts_with_cast_and_transpose(model: PersonDetector) -> None:
    graph = build_onnx(model, {"name": "person_detector"})
    assert [node.op_type for node in graph.graph.node[:2]] == ["Cast", "Transpose"]
    assert graph.ir_version <= 10
    assert graph.opset_import[0].version <= 20
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert facts["name"] == "person_detector"
    assert float(facts["nms_iou"]) == NMS_IOU
    assert float(facts["score_floor"]) == SCORE_FLOOR


def test_graph_equals_the_module(talkative: PersonDetector) -> None:
    images = np.stack([_blobs(0), _blobs(1)])
    boxes, scores = _session(build_onnx(talkative, {})).run(None, {"images": images})
    with torch.inference_mode():
        dense = talkative(torch.from_numpy(images))
    for index in range(2):
        expected_boxes, expected_scores = _detections(
            dense.boxes[index].numpy(), dense.logits[index].sigmoid().numpy()
        )
        count = len(expected_scores)
        assert count > 5, "the test needs boxes"
        np.testing.assert_allclose(scores[index, :count], expected_scores, atol=1e-4)
        np.testing.assert_allclose(boxes[index, :count], expected_boxes, atol=0.02)
        assert (scores[index, count:] == 0).all()


def _detections(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Plain non-maximum suppression with the graph's settings."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for index in order[scores[order] > SCORE_FLOOR]:
        if not kept or box_iou(boxes[[index]], boxes[kept]).max() <= NMS_IOU:
            kept.append(index)
    return boxes[kept[:DETECTIONS]], scores[kept[:DETECTIONS]]


def test_a_picture_gives_the_same_boxes_alone_and_in_a_batch(talkative: PersonDetector) -> None:
    session = _session(build_onnx(talkative, {}))
    images = np.stack([_blobs(seed) for seed in range(3)])
    together = session.run(None, {"images": images})
    for index in range(3):
        alone = session.run(None, {"images": images[[index]]})
        np.testing.assert_allclose(together[0][index], alone[0][0], atol=1e-3)
        np.testing.assert_allclose(together[1][index], alone[1][0], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 96), (3, 320, 224)])
def test_nobody_there_is_all_zeros(model: PersonDetector, shape: tuple[int, int, int]) -> None:
    silent = PersonDetector.from_checkpoint(CHECKPOINT)
    for name, value in silent.state_dict().items():
        if name.endswith("bias") and value.numel() == 1:
            value -= 100
    images = np.full((*shape, 3), 114, np.uint8)
    boxes, scores = _session(build_onnx(silent, {})).run(None, {"images": images})
    assert boxes.shape == (shape[0], 100, 4)
    assert scores.shape == (shape[0], 100)
    assert not boxes.any()
    assert not scores.any()


def test_scores_are_sorted_and_zero_padded(talkative: PersonDetector) -> None:
    _, scores = _session(build_onnx(talkative, {})).run(None, {"images": _blobs(3)[None]})
    assert (np.diff(scores[0]) <= 0).all()
    assert (scores[0][scores[0] > 0] >= SCORE_FLOOR).all()


def test_the_bundled_graph_has_the_weights_of_the_bundled_checkpoint(
    model: PersonDetector,
) -> None:
    bundled = onnxruntime.InferenceSession(str(CHECKPOINT.parent / "1" / "model.onnx"))
    images = _blobs(5)[None]
    expected = _session(build_onnx(model, {})).run(None, {"images": images})
    for value, other in zip(bundled.run(None, {"images": images}), expected, strict=True):
        np.testing.assert_array_equal(value, other)


@needs_data
def test_decoding_equals_the_original_file() -> None:
    source = DATA / "detector" / "rtmdet_nano.onnx"
    picture = read_rgb(sorted((DATA / "coco_mini" / "val").glob("*.jpg"))[0])
    image = letterbox(picture, 320).image
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    normalised = ((image[..., ::-1] - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
    dets = onnxruntime.InferenceSession(str(source)).run(["dets"], {"input": normalised})[0][0]
    graph = build_onnx(PersonDetector.from_onnx(source), {})
    boxes, scores = _session(graph).run(None, {"images": image[None]})
    count = int((dets[:, 4] > 0).sum())
    assert count > 0
    assert (scores[0] > 0).sum() == count
    np.testing.assert_allclose(scores[0, :count], dets[:count, 4], atol=1e-5)
    np.testing.assert_allclose(boxes[0, :count], dets[:count, :4], atol=1e-2)


# Checkpoints


def test_checkpoint_round_trip(model: PersonDetector, tmp_path: Path) -> None:
    model.save_checkpoint(tmp_path / "a.safetensors", {"note": "hello"})
    again = PersonDetector.from_checkpoint(tmp_path / "a.safetensors")
    images = torch.from_numpy(_blobs(7)[None])
    with torch.inference_mode():
        torch.testing.assert_close(again(images).logits, model(images).logits)
    assert read_tensors(tmp_path / "a.safetensors")[1]["note"] == "hello"


def test_bundled_checkpoint_is_small() -> None:
    assert CHECKPOINT.stat().st_size <= 8e6


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        PersonDetector.from_checkpoint(tmp_path / "bad.safetensors")


# Assignment and losses


def _grid(size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    points, strides = [], []
    for stride in (8, 16, 32):
        steps = torch.arange(0, size, stride, dtype=torch.float32)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        points.append(torch.stack((x, y), -1).reshape(-1, 2))
        strides.append(torch.full((len(steps) ** 2,), float(stride)))
    return torch.cat(points), torch.cat(strides)


@pytest.mark.parametrize(
    "person",
    [
        [10.0, 10.0, 30.0, 50.0],
        [9.0, 9.0, 11.0, 12.0],  # between all points: the nearest one answers
        [0.0, 0.0, 64.0, 64.0],
    ],
)
def test_every_person_gets_a_point(person: list[float]) -> None:
    points, strides = _grid()
    boxes = torch.cat((points - 5, points + 5), dim=1)
    found = assign(torch.zeros(len(points)), boxes, points, strides, torch.tensor([person]))
    assert (found.person == 0).any()


def test_the_best_box_answers_for_a_person() -> None:
    points, strides = _grid()
    person = torch.tensor([[10.0, 10.0, 30.0, 50.0]])
    boxes = torch.cat((points - 5, points + 5), dim=1)
    inside = int(torch.nonzero((points == torch.tensor([24.0, 24.0])).all(dim=1))[0])
    boxes[inside] = person[0]
    found = assign(torch.zeros(len(points)), boxes, points, strides, person)
    assert found.person[inside] == 0
    assert found.quality[inside] == pytest.approx(1.0)
    assert (found.quality[found.person < 0] == 0).all()


def test_a_picture_without_people_is_all_background() -> None:
    points, strides = _grid()
    boxes = torch.cat((points, points + 5), dim=1)
    found = assign(torch.zeros(len(points)), boxes, points, strides, torch.zeros(0, 4))
    assert (found.person == -1).all()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.0, 0, 10, 10], [0.0, 0, 10, 10], 1.0),
        ([0.0, 0, 10, 10], [10.0, 0, 20, 10], 0.0),  # touching: no gap in the hull
        ([0.0, 0, 10, 10], [30.0, 0, 40, 10], -0.5),  # half the hull is empty
    ],
)
def test_giou(a: list[float], b: list[float], expected: float) -> None:
    assert giou(torch.tensor([a]), torch.tensor([b])).item() == pytest.approx(expected)


def test_quality_focal_loss_is_least_at_the_quality() -> None:
    quality = torch.tensor([0.0, 0.3, 0.9])
    logits = torch.logit(quality.clamp(1e-4, 1 - 1e-4))
    loss = quality_focal_loss(logits, quality)
    assert loss.sum().item() < 1e-6
    assert (quality_focal_loss(logits + 1, quality) > loss).all()
    assert (quality_focal_loss(logits[1:] - 1, quality[1:]) > loss[1:]).all()


def _gradient(
    model: PersonDetector, target: Targets, drift_weight: float = 0.0, rise: float = 0.0
) -> torch.Tensor:
    """Gradient of the loss on one picture's logits, `[A]`, that lie `rise` over the start's."""
    with torch.no_grad():
        dense = model(torch.from_numpy(_blobs(2, 64, 64)[None]))
    logits = dense.logits.clone().requires_grad_()
    fields = (logits, dense.boxes, dense.points, dense.strides)
    loss = detection_loss(type(dense)(*fields), [target], dense.logits - rise, drift_weight)
    loss.total.backward()
    assert logits.grad is not None
    return logits.grad[0]


def test_ignored_regions_have_no_gradient(talkative: PersonDetector) -> None:
    everything = torch.tensor([[-1.0, -1.0, 65.0, 65.0]])
    nobody = torch.zeros(0, 4), torch.zeros(0)
    assert _gradient(talkative, Targets(*nobody, torch.zeros(0, 4))).abs().sum() > 0
    assert _gradient(talkative, Targets(*nobody, everything)).abs().sum() == 0


def test_an_unsure_label_pulls_the_score_less(model: PersonDetector) -> None:
    person = torch.tensor([[8.0, 8.0, 40.0, 56.0]])
    pulls = [
        -_gradient(model, Targets(person, torch.tensor([sure]), torch.zeros(0, 4))).min().item()
        for sure in (1.0, 0.5)
    ]
    assert pulls[0] > pulls[1]


def test_background_is_pulled_back_to_the_start_weights_only_from_above(
    model: PersonDetector,
) -> None:
    nobody = Targets(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 4))
    free = _gradient(model, nobody)
    torch.testing.assert_close(_gradient(model, nobody, 1.0, rise=-1.0), free)
    assert (_gradient(model, nobody, 1.0, rise=1.0) > free + 1.9).all()


# Labels


def test_views_are_merged_and_a_missing_view_counts_as_zero() -> None:
    near, far = [0.0, 0, 10, 20], [100.0, 0, 110, 20]
    first = np.array([near, far], np.float32), np.array([0.8, 0.6], np.float32)
    second = np.array([[0.0, 1, 10, 21]], np.float32), np.array([0.8], np.float32)
    boxes, scores = merge_views([first, second])
    np.testing.assert_allclose(boxes, [[0, 0.5, 10, 20.5], far])
    np.testing.assert_allclose(scores, [0.8, 0.3])


def test_truth_stands_and_parts_are_dropped() -> None:
    truth = np.array([[0.0, 0, 40, 100]], np.float32)
    picture = SourcePicture("coco", "a.jpg", np.zeros((200, 200, 3), np.uint8), truth)
    found = np.array(
        [
            [1.0, 1, 40, 100],  # the listed person again
            [10.0, 10, 30, 40],  # a part of that person
            [120.0, 0, 140, 60],  # somebody nobody listed
            [150.0, 0, 170, 60],  # too doubtful
        ],
        np.float32,
    )
    labels = decide(picture, found, np.array([0.9, 0.3, 0.3, 0.05], np.float32), floor=0.1)
    assert labels.people == [truth[0].tolist(), found[2].tolist()]
    assert labels.scores == [1.0, pytest.approx(0.3)]


# Samples


def _coloured_dataset(seed: int) -> MosaicDataset:
    """One picture: a red person on blue."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 2] = 200
    image[30:90, 50:80] = (220, 0, 0)
    picture = SourcePicture("coco", "a", image, np.zeros((0, 4), np.float32))
    labels = PictureLabels("a", [[50.0, 30.0, 80.0, 90.0]], [1.0])
    config = MosaicConfig(degrade=0.0, source_weights={"coco": 1.0})
    return MosaicDataset([picture], [labels], config, seed)


def test_boxes_follow_the_pixels() -> None:
    samples = [_coloured_dataset(4).sample(index, 160) for index in range(16)]
    # A few samples are turned grey; the others can be read back by colour.
    coloured = [s for s in samples if np.ptp(s.image.astype(int), axis=2).max() >= 40]
    assert len(coloured) >= 10
    for sample in coloured:
        red = sample.image[..., 0].astype(int) > sample.image[..., 2].astype(int) + 20
        listed = np.zeros_like(red)
        for x0, y0, x1, y1 in np.concatenate([sample.people, sample.ignored]).round().astype(int):
            listed[y0:y1, x0:x1] = True
        # All that is red lies in a box, and all in a box is red, but for interpolated rims.
        assert (red & ~listed).sum() <= 0.12 * max(1, red.sum())
        assert (listed & ~red).sum() <= 0.25 * max(1, listed.sum())


def test_a_sample_depends_on_seed_and_index_only() -> None:
    one, two = _coloured_dataset(1), _coloured_dataset(1)
    two.sample(0, 160)
    np.testing.assert_array_equal(one.sample(5, 160).image, two.sample(5, 160).image)
    assert (one.sample(5, 160).image != one.sample(6, 160).image).any()


def test_pictures_without_labels_are_refused() -> None:
    picture = SourcePicture(
        "coco", "a", np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4), np.float32)
    )
    with pytest.raises(ValueError, match="no teacher labels"):
        MosaicDataset([picture], [], MosaicConfig(), 0)


# The run


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, object]:
    """A data folder of three pictures and one video, and a run of four steps on it."""
    data = tmp_path / "data"
    for folder in ("coco_mini/train", "lspet/train", "video"):
        (data / folder).mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)]
    people = [{"image_id": 1, "bbox": [20, 10, 40, 100]}]
    (data / "coco_mini/train.json").write_text(
        json.dumps({"images": images, "annotations": people})
    )
    (data / "lspet/train.json").write_text(json.dumps({"images": images[:1], "annotations": []}))
    for name in ("coco_mini/train/1.png", "coco_mini/train/2.png", "lspet/train/1.png"):
        cv2.imwrite(str(data / name), _blobs(len(name)))
    video = cv2.VideoWriter(
        str(data / "video/a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5.0, (192, 128)
    )
    for seed in range(3):
        video.write(_blobs(seed))
    video.release()
    return {
        "task": "person_detector",
        "data": str(data),
        "start": str(CHECKPOINT),
        "output": str(tmp_path / "run"),
        "export_to": str(tmp_path / "person_detector"),
        "labels": {"coco_sizes": [128], "lspet_sizes": [128], "video_sizes": [128]},
        "sizes": {64: 1.0},
        "batch_size": 1,
        "steps": 4,
        "checkpoint_every": 2,
    }


def test_an_interrupted_run_goes_on_where_it_was(tiny: dict[str, object], tmp_path: Path) -> None:
    run(tiny)
    whole = read_tensors(tmp_path / "person_detector" / "checkpoint.safetensors")[0]
    again = {**tiny, "output": str(tmp_path / "again"), "export_to": str(tmp_path / "second")}
    prepare(parse_config(again)).run(until=2)
    run(again)
    resumed = read_tensors(tmp_path / "second" / "checkpoint.safetensors")[0]
    start = read_tensors(CHECKPOINT)[0]
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-6)
    assert any((whole[name] != start[name]).any() for name in whole)
    assert (tmp_path / "second" / "1" / "model.onnx").is_file()


def test_a_folder_in_which_another_run_is_at_work_is_refused(
    tiny: dict[str, object], tmp_path: Path
) -> None:
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(ConfigError, match=f"another farpose train is at work in {tmp_path}/run"),
    ):
        run(tiny)
    assert not (tmp_path / "run" / "labels.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1}, "learning_rat"),
        ({"sizes": {100: 1.0}}, "multiples of 32"),
        ({"sizes": {320: 0.5}}, "sum to 1"),
        ({"labels": {"floor": 0.6}}, "rising order"),
        ({"task": "pose"}, "task"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    config = {"task": "person_detector", "data": "d", "start": "s", "output": "o", **change}
    with pytest.raises(ConfigError, match=message):
        parse_config(config)


# The report


def test_report_reads_the_model_at_the_price_of_the_start() -> None:
    person, nobody = [10.0, 10, 30, 60], [100.0, 100, 120, 150]
    picture = LabelledPicture(
        np.zeros((200, 200, 3), np.uint8), np.array([person]), np.zeros((0, 4))
    )

    def start(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([person, nobody]), np.array([0.2, 0.35])

    def model(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([person, nobody, nobody]), np.array([0.5, 0.6, 0.55])

    comparison = compare(start, model, [picture], sizes=(320,))[0]
    assert comparison.threshold == pytest.approx(0.55)
    assert comparison.threshold > 0.55
    tables = io.StringIO()
    write_tables([comparison], tables)
    assert "| 320 | start | 0.300 | 1 | 0 | 0/1 | 0.000 | 0/1 |" in tables.getvalue()
    assert "| 320 | model | 0.550 | 1 | 0 | 0/1 | 0.000 | 0/1 |" in tables.getvalue()
    assert "| 320 | model | 0.300 | 2 | 0 | 1/1 | 1.000 | 1/1 |" in tables.getvalue()
