from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farpose.cli import main
from farpose.evaluation.dataset import DatasetError, PoseDataset
from farpose.evaluation.detections import MOST_BOXES, load_detections
from farpose.evaluation.runner import PoseReport, evaluate_pose
from farpose.pipeline import PosePipeline

EngineFor = Callable[..., Any]

# The labelled boxes of the two pictures, 10 and 11.
FIRST = {"image_id": 10, "category_id": 1, "bbox": [100, 90, 60, 120], "score": 0.9}
SECOND = {"image_id": 11, "category_id": 1, "bbox": [200, 100, 30, 60], "score": 0.8}


def write(folder: Path, content: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def evaluate(engine: object, dataset: PoseDataset, folder: Path, entries: list[dict]) -> PoseReport:
    found = load_detections(write(folder, entries), dataset)
    run = evaluate_pose(PosePipeline(engine), dataset, boxes="detected", detections=found)
    return asyncio.run(run)


def test_boxes_are_read_by_picture_the_surest_first(labelled: PoseDataset, tmp_path: Path):
    surer = FIRST | {"score": 0.95, "bbox": [1, 2, 3, 4]}
    car = FIRST | {"category_id": 3}
    found = load_detections(write(tmp_path, [FIRST, SECOND, car, surer]), labelled)
    assert found.boxes[0].tolist() == [[1, 2, 4, 6], [100, 90, 160, 210]]
    assert found.scores[0] == pytest.approx([0.95, 0.9])
    assert found.boxes[1].tolist() == [[200, 100, 230, 160]]
    assert (len(found), found.left_out) == (3, 0)


def test_boxes_that_cannot_be_cropped_are_left_out(labelled: PoseDataset, tmp_path: Path):
    flat = FIRST | {"bbox": [100, 90, 0, 120]}
    outside = FIRST | {"bbox": [320, 90, 60, 120]}
    before = FIRST | {"bbox": [-60, 90, 60, 120]}
    found = load_detections(write(tmp_path, [flat, FIRST, outside, before]), labelled)
    assert (len(found), found.left_out) == (1, 3)


def test_too_many_boxes_of_a_picture_leave_the_surest(labelled: PoseDataset, tmp_path: Path):
    entries = [FIRST | {"score": 0.001}] + [FIRST] * MOST_BOXES
    found = load_detections(write(tmp_path, entries), labelled)
    assert (len(found), found.left_out) == (MOST_BOXES, 1)
    assert found.scores[0].min() == pytest.approx(0.9)


def test_boxes_below_the_threshold_are_not_used(labelled: PoseDataset, tmp_path: Path):
    path = write(tmp_path, [FIRST, SECOND])
    found = load_detections(path, labelled, threshold=0.9)
    assert [len(boxes) for boxes in found.boxes] == [1, 0]
    assert found.left_out == 0
    with pytest.raises(DatasetError, match=r"no person scores 0\.95; the best scores 0\.9"):
        load_detections(path, labelled, threshold=0.95)


def test_a_perfect_model_in_given_boxes_scores_1_without_our_detector(
    labelled: PoseDataset, engine_for: EngineFor, tmp_path: Path
):
    engine = engine_for(labelled)
    report = evaluate(engine, labelled, tmp_path, [FIRST, SECOND])
    assert (report.precision.ap, report.accuracy.pck_02, report.found) == (1, 1, 2)
    assert {model for model, _ in engine.calls} == {"lowres_pose"}
    assert report.predictions.scores == pytest.approx([0.9, 0.8])


def test_a_picture_without_boxes_has_nobody(
    labelled: PoseDataset, engine_for: EngineFor, tmp_path: Path
):
    report = evaluate(engine_for(labelled), labelled, tmp_path, [FIRST])
    assert (report.found, report.accuracy.pck_02, report.precision.ar) == (1, 0.5, 0.5)


def test_a_second_box_on_a_person_is_suppressed(
    labelled: PoseDataset, engine_for: EngineFor, tmp_path: Path
):
    entries = [FIRST, SECOND, FIRST | {"score": 0.85}]
    report = evaluate(engine_for(labelled), labelled, tmp_path, entries)
    assert report.predictions.scores == pytest.approx([0.9, 0.8])


def test_the_score_of_a_box_orders_the_predictions(
    labelled: PoseDataset, engine_for: EngineFor, tmp_path: Path
):
    # A false person, cropped where nobody is labelled, costs precision only if it is surer. Its
    # crop is of person 1's grey, moved half a box aside.
    aside = SECOND | {"bbox": [210, 100, 30, 60]}
    sure = evaluate(engine_for(labelled), labelled, tmp_path, [FIRST, SECOND, aside | {"score": 1}])
    unsure = evaluate(
        engine_for(labelled), labelled, tmp_path, [FIRST, SECOND, aside | {"score": 0.1}]
    )
    assert unsure.precision.ap == 1
    assert sure.precision.ap < 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ({"annotations": []}, "a list of image_id, category_id, bbox and score is expected"),
        ([{"image_id": 10, "category_id": 1, "score": 1}], "detection 0 has no 'bbox'"),
        ([FIRST, FIRST | {"bbox": [1, 2, 3]}], "detection 1 needs a `bbox`"),
        ([FIRST | {"score": float("nan")}], "detection 0 needs a `bbox`"),
        ([FIRST | {"bbox": None}], "detection 0 is malformed"),
        ([3], "detection 0 is malformed"),
        ([], "no box has `category_id` 1.* 0 boxes of no category"),
        ([FIRST | {"category_id": 3}], "no box has `category_id` 1.* 1 boxes of 3"),
        ([FIRST, FIRST | {"image_id": 99}], "1 pictures are not among the 2 .* `image_id` 99"),
    ],
)
def test_a_broken_file_is_refused_by_name(
    labelled: PoseDataset, tmp_path: Path, content: object, message: str
):
    with pytest.raises(DatasetError, match=message) as refused:
        load_detections(write(tmp_path, content), labelled)
    assert "boxes.json" in str(refused.value)


def test_a_missing_file_is_named(labelled: PoseDataset, tmp_path: Path):
    with pytest.raises(DatasetError, match=r"none\.json: no such file of detections"):
        load_detections(tmp_path / "none.json", labelled)


def coco_file(dataset: PoseDataset, folder: Path) -> Path:
    content = {
        "images": [
            {"id": p.id, "file_name": p.path.name, "width": p.width, "height": p.height}
            for p in dataset.pictures
        ],
        "categories": [{"id": 1, "keypoints": list(dataset.keypoint_set.joints)}],
        "annotations": [
            {
                "id": i,
                "image_id": dataset.pictures[i].id,
                "category_id": 1,
                "bbox": entry["bbox"],
                "keypoints": dataset.keypoints[i].ravel().tolist(),
            }
            for i, entry in enumerate((FIRST, SECOND))
        ],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["farpose", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_evaluate_takes_a_file_of_boxes(
    labelled: PoseDataset,
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    boxes = write(tmp_path, [FIRST, SECOND, FIRST | {"bbox": [1, 1, 0, 0]}])
    options = ["--annotations", coco_file(labelled, tmp_path), "--images", tmp_path]
    options += ["--detections", boxes]
    assert run_cli(monkeypatch, repository / "lowres_pose", *options, "--json") == 0
    out = capsys.readouterr().out
    assert "1 boxes of" in out and "2 of 2 people were detected" in out
    content = json.loads(out.splitlines()[-1])
    assert (content["boxes"], content["detections"]) == ("detected", str(boxes))
    assert np.isfinite(content["mean_OKS"])

    assert run_cli(monkeypatch, repository / "person_detector", *options) == 1
    assert "--detections are for pose models" in capsys.readouterr().err

    surest = (*options, "--detection-threshold", 0.85)
    assert run_cli(monkeypatch, repository / "lowres_pose", *surest) == 0
    assert "1 of 2 people were detected" in capsys.readouterr().out
    alone = (*options[:-2], "--detection-threshold", 0.85)
    assert run_cli(monkeypatch, repository / "lowres_pose", *alone) == 1
    assert "--detection-threshold is for the boxes of --detections" in capsys.readouterr().err


def test_boxes_do_not_go_with_mpii_files(
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "valid.json").write_text("[]")
    options = ["--annotations", tmp_path / "valid.json", "--images", tmp_path]
    options += ["--detections", write(tmp_path, [FIRST])]
    assert run_cli(monkeypatch, repository / "lowres_pose", *options) == 1
    assert "--detections is for COCO-style files" in capsys.readouterr().err
