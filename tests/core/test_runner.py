from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farpose.cli import main
from farpose.engines.combined import CombinedEngine
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.engines.opening import ModelNotFoundError, open_model
from farpose.engines.repository import onnx_models
from farpose.evaluation.boxes import are_joint_extents, match_people, with_scaled_boxes
from farpose.evaluation.dataset import DatasetError, Picture, PoseDataset, load_dataset
from farpose.evaluation.runner import PoseReport, evaluate_pose
from farpose.evaluation.tables import pose_json, pose_text
from farpose.keypoints import LSP14
from farpose.pipeline import PosePipeline

EngineFor = Callable[..., Any]


def evaluate(engine: object, dataset: PoseDataset, **options: Any) -> PoseReport:
    return asyncio.run(evaluate_pose(PosePipeline(engine), dataset, **options))


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["farpose", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("boxes", ["truth", "detected"])
def test_a_perfect_model_scores_1(labelled: PoseDataset, engine_for: EngineFor, boxes: str):
    report = evaluate(engine_for(labelled), labelled, boxes=boxes, detector_size=320)
    assert (report.precision.ap, report.precision.ar) == (1, 1)
    assert (report.accuracy.pck_02, report.found) == (1, 2)
    assert report.accuracy.mean_oks == pytest.approx(1)


def test_a_known_offset_gives_the_share_by_hand(labelled: PoseDataset, engine_for: EngineFor):
    # 8 pixels: 0.16 of person 0's torso of 50 pixels, 0.32 of person 1's torso of 25.
    offset = np.array([8.0, 0.0])
    report = evaluate(engine_for(labelled, offset=offset), labelled)
    assert (report.accuracy.pck_02, report.accuracy.pck_05) == (0.5, 1.0)


def test_a_person_not_detected_counts_as_wrong(labelled: PoseDataset, engine_for: EngineFor):
    report = evaluate(
        engine_for(labelled, found=(0,)), labelled, boxes="detected", detector_size=320
    )
    assert (report.found, report.accuracy.pck_02, report.accuracy.mean_oks) == (1, 0.5, 0.5)
    assert report.precision.ar == 0.5
    assert [b.accuracy.pck_02 for b in report.heights[3:5]] == [0, 1]


@pytest.mark.parametrize("boxes", ["truth", "detected"])
def test_each_person_has_the_variances_of_their_prediction(
    labelled: PoseDataset, engine_for: EngineFor, boxes: str
):
    engine = engine_for(labelled, found=(0,))
    report = evaluate(engine, labelled, boxes=boxes, detector_size=320)
    # The engine says 1 crop pixel squared; a crop of 64 pixels shows 1.25 boxes.
    assert report.own_variances[0] == pytest.approx((1.25 * 120 / 64) ** 2, rel=1e-5)
    if boxes == "truth":
        assert report.own_variances[1] == pytest.approx((1.25 * 60 / 64) ** 2, rel=1e-5)
    else:
        assert np.isinf(report.own_variances[1]).all()


def test_nobody_detected_is_a_report_of_zeros(labelled: PoseDataset, engine_for: EngineFor):
    report = evaluate(engine_for(labelled, found=()), labelled, boxes="detected", detector_size=320)
    assert (report.found, report.precision.ap, report.accuracy.pck_05) == (0, 0, 0)


def test_truth_of_another_set_is_compared_on_shared_joints(
    labelled: PoseDataset, engine_for: EngineFor
):
    truth = labelled.converted(LSP14).converted(labelled.keypoint_set)
    assert (truth.keypoints[:, :5, 2] == 0).all()  # LSP has no face
    report = evaluate(engine_for(labelled), truth)
    assert (report.precision.ap, report.accuracy.pck_02) == (1, 1)


def test_a_dataset_of_other_joints_is_refused(labelled: PoseDataset, engine_for: EngineFor):
    with pytest.raises(ValueError, match="predicts coco17, not lsp14"):
        evaluate(engine_for(labelled), labelled.converted(LSP14))


def test_progress_counts_the_pictures(labelled: PoseDataset, engine_for: EngineFor):
    seen: list[int] = []
    evaluate(engine_for(labelled), labelled, progress=seen.append)
    assert seen == [1, 2]


def test_an_unreadable_picture_is_named(
    labelled: PoseDataset, engine_for: EngineFor, tmp_path: Path
):
    broken = Picture(10, tmp_path / "broken.png", 320, 320)
    with pytest.raises(DatasetError, match=r"broken\.png"):
        evaluate(engine_for(labelled), replace(labelled, pictures=(broken, labelled.pictures[1])))


def test_json_has_null_where_nothing_could_be_computed(
    labelled: PoseDataset, engine_for: EngineFor
):
    report = evaluate(engine_for(labelled), labelled)
    content = json.loads(json.dumps(pose_json(report), allow_nan=False))
    assert content["AP"] == 1.0 and content["people"] == 2
    assert content["heights"][0]["PCK@0.2"] is None
    assert content["heights"][-1]["to"] is None
    assert "96-192 px       1    1.000" in pose_text(report)


def test_boxes_that_span_the_joints_are_recognised(labelled: PoseDataset, data: Path):
    assert not are_joint_extents(labelled)
    points = labelled.keypoints[..., :2]
    extents = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float64)
    assert are_joint_extents(replace(labelled, boxes=extents))
    for name, expected in (("lspet/val", True), ("coco_mini/val", False)):
        dataset = load_dataset(data / f"{name}.json", data / name)
        assert are_joint_extents(dataset) is expected


def test_scaled_boxes_keep_their_centre(labelled: PoseDataset):
    assert with_scaled_boxes(labelled, 1.2).boxes[0] == pytest.approx([94, 78, 166, 222])


def test_people_are_matched_to_their_best_boxes_once():
    people = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [100, 100, 110, 110]])
    found = np.array([[4.9, 0, 15, 10], [1, 0, 11, 10], [300, 300, 310, 310]])
    assert match_people(people, found).tolist() == [1, 0, -1]
    assert match_people(people, np.zeros((0, 4))).tolist() == [-1, -1, -1]


def test_a_model_is_run_by_the_engine_that_has_it(repository: Path):
    models = onnx_models(repository)
    with (
        OnnxRuntimeEngine.from_models([models["lowres_pose"]]) as pose,
        OnnxRuntimeEngine.from_models([models["person_detector"]]) as detector,
    ):
        both = CombinedEngine(pose, detector)
        assert asyncio.run(both.metadata("person_detector")).inputs[0].name == "images"
        assert asyncio.run(both.metadata("lowres_pose")).inputs[0].name == "crops"
        with pytest.raises(Exception, match="there is no model 'other'"):
            asyncio.run(both.infer("other", {}))


def test_only_a_checkpoint_can_be_asked_twice(repository: Path):
    model = onnx_models(repository)["lowres_pose"].path
    with (
        pytest.raises(ModelNotFoundError, match="the flip test needs a checkpoint"),
        open_model(model, flip=True),
    ):
        pass


def test_an_onnx_file_is_served_by_what_it_does(repository: Path):
    with open_model(onnx_models(repository)["lowres_pose"].path) as opened:
        assert opened.name == "lowres_pose" and not opened.is_detector
    with open_model(onnx_models(repository)["person_detector"].path) as opened:
        assert opened.is_detector


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.onnx", "no such model"),
        (".", "give an .onnx file"),  # a folder that is no model
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, path: str, message: str):
    with pytest.raises(ModelNotFoundError, match=message), open_model(tmp_path / path):
        pass


def some_of_coco(data: Path, tmp_path: Path) -> Path:
    """The first three pictures of coco_mini/val with their people."""
    content = json.loads((data / "coco_mini/val.json").read_text())
    content["images"] = content["images"][:3]
    ids = {picture["id"] for picture in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content))
    return path


def test_evaluate_prints_one_json_object_last(
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    annotations = some_of_coco(data, tmp_path)
    place = ("--annotations", annotations, "--images", data / "coco_mini/val")
    model = repository / "lowres_pose"
    assert run_cli(monkeypatch, model, *place, "--boxes", "detected", "--shrink", "--json") == 0
    content = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"AP", "AP50", "AP75", "AR", "PCK@0.2", "PCK@0.5", "people", "heights"} <= content.keys()
    assert [column["height"] for column in content["shrink"]] == [16, 24, 32, 48, 64, 96, 128]
    assert 0.2 < content["PCK@0.5"] <= 1


def test_evaluate_tells_the_reliability_and_draws_it(
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    place = ("--annotations", some_of_coco(data, tmp_path), "--images", data / "coco_mini/val")
    plot = tmp_path / "reliability.png"
    options = ("--reliability-plot", plot, "--json")
    assert run_cli(monkeypatch, repository / "lowres_pose", *place, *options) == 0
    out = capsys.readouterr().out
    content = json.loads(out.splitlines()[-1])["reliability"]
    assert -1 <= content["spearman"]["spread_relative"] <= 1
    assert sum(b["joints"] for b in content["score_bins"]) == content["joints"] > 10
    assert "rank correlation with the error" in out
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("person_detector", ("--reliability",), "is a detector: --shrink, --reliability"),
        ("lowres_pose", ("--reliability-plot", "plot.bmp"), "a plot's name ends in .png"),
    ],
)
def test_a_reliability_that_cannot_be_told_is_refused(
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    options: tuple[str, ...],
    message: str,
):
    place = ("--annotations", some_of_coco(data, tmp_path), "--images", data / "coco_mini/val")
    assert run_cli(monkeypatch, repository / model, *place, *options) == 1
    assert message in capsys.readouterr().err


def test_evaluate_reports_a_detector(
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    annotations = some_of_coco(data, tmp_path)
    place = ("--annotations", annotations, "--images", data / "coco_mini/val")
    assert run_cli(monkeypatch, repository / "person_detector", *place, "--json") == 0
    out = capsys.readouterr().out
    content = json.loads(out.splitlines()[-1])
    assert content["recall"] > 0.5 and content["pictures"] == 3
    assert len(content["curve"]) == 5
    assert "recall at score 0.3" in out


def test_lsp_boxes_are_enlarged_and_it_is_said(
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    content = json.loads((data / "lspet/val.json").read_text())
    content["annotations"] = content["annotations"][:10]
    annotations = tmp_path / "some.json"
    annotations.write_text(json.dumps(content))
    place = ("--annotations", annotations, "--images", data / "lspet/val")
    assert run_cli(monkeypatch, repository / "lowres_pose", *place) == 0
    assert "the labelled boxes only span the joints: they are enlarged by 1.2" in (
        capsys.readouterr().out
    )


def test_a_missing_annotation_file_is_one_line(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    place = ("--annotations", tmp_path / "none.json", "--images", tmp_path)
    assert run_cli(monkeypatch, repository / "lowres_pose", *place) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/none.json: no such annotation file\n"
