from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from farpose.cli import main
from farpose.commands.evaluate_report import labels_of
from farpose.evaluation.dataset import PoseDataset

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`farpose evaluate` with these arguments: exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["farpose", "evaluate", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return int(code or 0), said.out, said.err

    return run


@pytest.fixture
def coco(data: Path) -> list[object]:
    """Options that name real labelled people."""
    return [
        "--annotations",
        data / "coco_mini" / "val.json",
        "--images",
        data / "coco_mini" / "val",
    ]


@pytest.fixture
def labels(labelled: PoseDataset, tmp_path: Path) -> Path:
    """The two generated people as a file, beside their pictures."""
    path = tmp_path / "labels.json"
    x1, y1, x2, y2 = labelled.boxes.T
    sizes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    content = {
        "images": [
            {"id": p.id, "file_name": p.path.name, "width": 320, "height": 320}
            for p in labelled.pictures
        ],
        "categories": [{"id": 1, "keypoints": list(labelled.keypoint_set.joints)}],
        "annotations": [
            {
                "id": int(labelled.ids[i]),
                "image_id": labelled.pictures[i].id,
                "category_id": 1,
                "bbox": sizes[i].tolist(),
                "area": float(labelled.areas[i]),
                "keypoints": labelled.keypoints[i].ravel().tolist(),
            }
            for i in range(2)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_the_report_has_the_numbers_that_evaluate_prints(
    run: Run, coco: list[object], repository: Path, tmp_path: Path
):
    model = repository / "lowres_pose_32"
    code, out, _ = run(model, *coco, "--json")
    assert code == 0
    expected = json.loads(out.splitlines()[-1])
    report = ["--report", tmp_path / "report", "--degrade", "none"]
    code, out, err = run(model, *coco, *report, "--json")
    assert code == 0
    said = json.loads(out.splitlines()[-1])
    assert said["people"] == expected["people"] == 213
    clean = said["models"][0]["conditions"][0]
    for metric, name in (("AP", "AP"), ("PCK@0.2", "PCK@0.2"), ("mean OKS", "mean_OKS")):
        found = clean["everybody"][metric]
        assert found["value"] == expected[name]
        assert found["low"] < found["value"] < found["high"]
    for cell, row in zip(clean["heights"], expected["heights"], strict=True):
        assert cell["people"] == row["people"]
        assert cell["PCK@0.2"] is None or cell["PCK@0.2"]["value"] == row["PCK@0.2"]
    assert any(cell["PCK@0.2"] for cell in clean["heights"])
    assert f"the report: {tmp_path / 'report' / 'report.html'}" in out
    assert "lowres_pose_32, as they are (picture 1 of 55)" in err
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == {
        key: value for key, value in said.items() if key not in ("model",)
    } | {"boxes": "truth"}


def test_two_models_on_degraded_frames_found_by_a_detector(
    run: Run, coco: list[object], repository: Path, tmp_path: Path
):
    code, out, err = run(
        repository / "lowres_pose",
        *coco,
        *("--against", repository / "lowres_pose_32", "--boxes", "detected"),
        *("--detector-size", 320, "--limit", 10, "--seed", 3),
        *("--degrade", "blur=4"),
        *("--report", tmp_path / "report", "--json"),
    )
    assert (code, err.count("\n")) == (0, 4)
    said = json.loads(out.splitlines()[-1])
    assert said["pictures"] == 10 and said["seed"] == 3
    first, second = said["models"]
    assert [first["name"], second["name"]] == ["lowres_pose", "lowres_pose_32"]
    found = [c["found"] for c in first["conditions"]]
    assert found == [c["found"] for c in second["conditions"]]  # one detector for both
    assert 0 < found[0] < said["people"]
    clean, blurred = (c["everybody"]["PCK@0.5"]["value"] for c in first["conditions"])
    assert blurred < clean
    text = (tmp_path / "report" / "report.md").read_text()
    assert "This is a sample: 45 pictures with people are left out." in text
    assert "detected boxes, detector size 320" in text


def test_labels_of_another_skeleton_are_taken(
    run: Run, data: Path, repository: Path, tmp_path: Path
):
    code, out, _ = run(
        *(repository / "lowres_pose_32", "--annotations", data / "lspet" / "val.json"),
        *("--images", data / "lspet" / "val", "--limit", 60, "--degrade", "none"),
        *("--report", tmp_path / "report", "--json"),
    )
    assert code == 0
    said = json.loads(out.splitlines()[-1])
    assert (said["keypoint_set"], said["people"], said["box_scale"]) == ("coco17", 60, 1.2)
    assert said["models"][0]["conditions"][0]["everybody"]["PCK@0.2"]["value"] > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "lowres_pose"], "--against needs --report DIR"),
        (["--limit", 5], "--limit needs --report DIR"),
        (["--degrade", "blur=1"], "--degrade needs --report DIR"),
        (["--seed", 0], "--seed needs --report DIR"),
        (["--report", "new", "--shrink"], "--shrink does not go with --report"),
        (["--report", "new", "--reliability"], "--reliability does not go with --report"),
        (["--report", "new", "--degrade", "fog=1"], "'fog=1' is no degradation"),
        (["--report", "new", "--degrade", "none", "--degrade", "jpeg=5"], "none does not go with"),
        (["--report", "full"], "full: the folder is not empty"),
        (["--report", "full/notes.txt"], "notes.txt: is a file"),
        (["--report", "new", "--against", "nowhere"], "nowhere: no such model"),
    ],
)
def test_options_that_cannot_be_are_one_line(
    run: Run,
    labels: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[object],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    code, _, err = run(
        *(repository / "lowres_pose_32", "--annotations", labels, "--images", tmp_path, *options)
    )
    assert code == 1
    assert message in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_package_that_is_missing_is_said_before_anything_runs(
    run: Run, labels: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(
        *(repository / "lowres_pose_32", "--annotations", labels, "--images", tmp_path),
        *("--report", tmp_path / "report"),
    )
    assert code == 1 and "pip install '.[serve,evaluate]'" in err
    assert not (tmp_path / "report").exists()


def test_a_detector_has_no_report(run: Run, labels: Path, repository: Path, tmp_path: Path):
    code, _, err = run(
        *(repository / "person_detector", "--annotations", labels, "--images", tmp_path),
        *("--report", tmp_path / "report"),
    )
    assert code == 1 and "is a detector: a report is of pose models" in err


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c["images"][0].update(file_name="other.png"), "pictures that .* are missing"),
        (lambda c: c["images"][0].update(width=640), "is 320x320, but the annotations say 640x320"),
        (lambda c: c["annotations"][0].update(bbox=[330, 0, 9, 9]), "outside of their picture"),
        (lambda c: c["categories"][0].pop("keypoints"), "no category has `keypoints`"),
        (lambda c: c.update(annotations=[]), "no person has a labelled joint"),
        (
            lambda c: [a.update(keypoints=[0] * 51) for a in c["annotations"]],
            "no person has a labelled joint",
        ),
    ],
)
def test_labels_that_do_not_fit_are_one_line(
    run: Run,
    labels: Path,
    repository: Path,
    tmp_path: Path,
    spoil: Callable[[dict[str, Any]], object],
    message: str,
):
    content = json.loads(labels.read_text())
    spoil(content)
    labels.write_text(json.dumps(content))
    code, _, err = run(
        *(repository / "lowres_pose_32", "--annotations", labels, "--images", tmp_path),
        *("--report", tmp_path / "report"),
    )
    assert code == 1
    assert err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err)


def test_a_picture_that_cannot_be_read_is_one_line(
    run: Run, labels: Path, repository: Path, tmp_path: Path
):
    (tmp_path / "0.png").write_bytes(
        cv2.imencode(".png", np.zeros((320, 320, 3)))[1][:60].tobytes()
    )
    code, _, err = run(
        *(repository / "lowres_pose_32", "--annotations", labels, "--images", tmp_path),
        *("--report", tmp_path / "report"),
    )
    assert code == 1 and "0.png: not a readable picture" in err


def test_models_are_named_by_what_tells_them_apart(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name / "lowres_pose").mkdir(parents=True)
    assert labels_of([tmp_path / "one" / "lowres_pose"]) == ("lowres_pose",)
    assert labels_of([tmp_path / "a.onnx", tmp_path / "b.onnx"]) == ("a", "b")
    twins = [tmp_path / name / "lowres_pose" for name in ("one", "two")]
    assert labels_of(twins) == ("one/lowres_pose", "two/lowres_pose")
    assert labels_of(twins[:1] * 2) == ("one/lowres_pose (1)", "one/lowres_pose (2)")
