from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from farpose.cli import main
from farpose.drawing import PLAIN_BACKGROUND
from farpose.keypoints import COCO17
from tests.core.conftest import Predict

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(data: Path, tmp_path: Path) -> Path:
    """A folder with two COCO pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("000000000785.jpg", "000000001000.jpg"):
        shutil.copy(data / "coco_mini/val" / name, folder)
    return folder


@pytest.fixture
def clip(data: Path, tmp_path: Path) -> Path:
    """Five frames of a real clip, 240x135, 10 frames a second."""
    source = cv2.VideoCapture(str(data / "video/worker-zone-detection.gif"), cv2.CAP_FFMPEG)
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (240, 134))
    source.set(cv2.CAP_PROP_POS_FRAMES, 30)
    for _ in range(5):
        writer.write(cv2.resize(source.read()[1], (240, 134)))
    writer.release()
    source.release()
    return path


def frames(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found = []
    while True:
        there, frame = video.read()
        if not there:
            return found
        found.append(frame)


def test_a_dash_prints_one_document_per_picture(predict: Predict, pictures: Path, capsys: Capture):
    assert predict(pictures, "--output", "-") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(first) == ["source", "image", "models", "keypoint_names", "people"]
    assert first["source"] == str(pictures / "000000000785.jpg")
    assert first["image"] == {"width": 640, "height": 425}
    assert first["models"].keys() == {"lowres_pose", "person_detector"}
    assert first["keypoint_names"] == list(COCO17.joints)
    (skier,) = (p for p in first["people"] if p["box"][3] - p["box"][1] > 300)
    x1, y1, x2, y2 = skier["box"]
    assert 270 < x1 < 300 and 30 < y1 < 60 and 480 < x2 < 510 and 360 < y2 < 400
    assert len(skier["keypoints"]) == 17
    assert len(second["people"]) > 4


def test_json_is_a_list_of_documents(predict: Predict, pictures: Path, tmp_path: Path):
    target = tmp_path / "people.json"
    assert predict(pictures, "--output", target) == 0
    documents = json.loads(target.read_text())
    assert [Path(d["source"]).name for d in documents] == ["000000000785.jpg", "000000001000.jpg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["people.json", "pictures"]


def test_jsonl_has_a_line_per_frame(predict: Predict, clip: Path, tmp_path: Path):
    target = tmp_path / "people.jsonl"
    assert predict(clip, "--output", target) == 0
    documents = [json.loads(line) for line in target.read_text().splitlines()]
    assert [d["frame"] for d in documents] == [0, 1, 2, 3, 4]
    assert {d["image"]["width"] for d in documents} == {240}


def test_coco_results_are_read_by_pycocotools(
    predict: Predict, data: Path, pictures: Path, tmp_path: Path
):
    target = tmp_path / "results.json"
    assert predict(pictures, "--output", target, "--format", "coco") == 0
    results = json.loads(target.read_text())
    # Their names are COCO's image ids.
    assert {r["image_id"] for r in results} == {785, 1000}
    assert all(len(r["keypoints"]) == 51 and 0 <= r["score"] <= 1 for r in results)
    truth = COCO(str(data / "coco_mini/val.json"))
    assert len(truth.loadRes(str(target)).getAnnIds()) == len(results)


def test_coco_results_of_other_names_count_the_pictures(
    predict: Predict, pictures: Path, capsys: Capture
):
    (pictures / "000000001000.jpg").rename(pictures / "beach.jpg")
    assert predict(pictures, "--output", "-", "--format", "coco") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {(r["image_id"], r["file_name"]) for r in first} == {(1, "000000000785.jpg")}
    assert {(r["image_id"], r["file_name"]) for r in second} == {(2, "beach.jpg")}


def test_an_overlay_video_has_the_size_rate_and_frames_of_its_source(
    predict: Predict, clip: Path, tmp_path: Path
):
    target = tmp_path / "overlay.mp4"
    assert predict(clip, "--output", target) == 0
    drawn, source = frames(target), frames(clip)
    assert len(drawn) == 5 and drawn[0].shape == (134, 240, 3)
    assert cv2.VideoCapture(str(target), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FPS) == 10
    assert np.abs(drawn[0].astype(int) - source[0]).mean() < 15


def test_the_privacy_view_shows_nothing_of_the_frame(predict: Predict, clip: Path, tmp_path: Path):
    target = tmp_path / "drawn"
    assert predict(clip, "--output", target, "--anonymous", "--detection-threshold", "1") == 0
    names = sorted(p.name for p in target.iterdir())
    assert names == [f"clip-{i:06d}.jpg" for i in range(5)]
    picture = cv2.imread(str(target / names[0]), cv2.IMREAD_COLOR_RGB)
    assert np.abs(picture.astype(int) - PLAIN_BACKGROUND).max() <= 2


def test_a_gif_is_a_video(predict: Predict, data: Path, capsys: Capture):
    assert predict(data / "video/people-detection.gif", "--output", "-") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(23))


def test_an_overlay_folder_keeps_names_apart(predict: Predict, pictures: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(pictures / "000000000785.jpg", other)
    target = tmp_path / "drawn"
    assert predict(pictures / "000000000785.jpg", other, "--output", target) == 0
    assert sorted(p.name for p in target.iterdir()) == ["000000000785-2.jpg", "000000000785.jpg"]
    assert cv2.imread(str(target / "000000000785.jpg")).shape == (425, 640, 3)


def test_sources_are_not_overwritten(predict: Predict, pictures: Path, capsys: Capture):
    before = (pictures / "000000000785.jpg").read_bytes()
    assert predict(pictures, "--output", pictures) == 1
    assert "exists and would be overwritten" in capsys.readouterr().err
    assert predict(pictures, "--output", pictures, "--overwrite") == 1
    assert "would be overwritten; give another folder" in capsys.readouterr().err
    assert (pictures / "000000000785.jpg").read_bytes() == before


def test_without_output_there_is_a_table(predict: Predict, pictures: Path, capsys: Capture):
    assert predict(pictures / "000000000785.jpg", "--detection-threshold", "0.5") == 0
    heading, columns, person = capsys.readouterr().out.splitlines()
    assert heading.endswith("000000000785.jpg  640x425  1 person")
    assert columns.split() == ["person", "height", "score", "joints", "box"]
    assert person.split()[:3:2] == ["1", "px"]


def test_an_unreadable_source_is_told_and_the_others_go_on(
    predict: Predict, pictures: Path, capsys: Capture
):
    (pictures / "broken.jpg").write_bytes(b"no picture")
    (pictures / "broken.mp4").write_bytes(b"no video")
    assert predict("nowhere.jpg", pictures, "--output", "-") == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.splitlines() == [
        "error: nowhere.jpg: no such file or folder",
        f"error: {pictures}/broken.jpg: the bytes are not a picture of a known format",
        f"error: {pictures}/broken.mp4: neither a picture (JPEG, PNG, WebP) nor a readable video",
        "3 not, or not wholly, in the output:",
        "  nowhere.jpg",
        f"  {pictures}/broken.jpg",
        f"  {pictures}/broken.mp4",
    ]


def test_an_old_file_stays_when_nothing_could_be_read(
    predict: Predict, pictures: Path, tmp_path: Path
):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for name in ("old.json", "old.jsonl", "old.mp4"):
        target = tmp_path / name
        target.write_text("old")
        assert predict(broken, "--output", target, "--overwrite") == 1
        assert target.read_text() == "old"


def test_a_video_of_pictures_of_several_sizes_is_refused(
    predict: Predict, pictures: Path, tmp_path: Path, capsys: Capture
):
    small = cv2.resize(cv2.imread(str(pictures / "000000000785.jpg")), (321, 213))
    cv2.imwrite(str(pictures / "9.png"), small)
    (pictures / "000000001000.jpg").unlink()
    assert predict(pictures, "--output", tmp_path / "all.mp4") == 1
    assert "it is 321x213, the video 640x425" in capsys.readouterr().err
    assert len(frames(tmp_path / "all.mp4")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--output", "people.txt"), "use .json, .jsonl, .parquet, .mp4, .xml, a folder, or -"),
        (("--output", "people.xml"), "give --format cvat"),
        (("--output", "people.json", "--format", "cvat"), "--format cvat is XML"),
        (("--output", "people.json", "--format", "yolo"), "--format yolo is a file per frame"),
        (("--output", "people.parquet", "--format", "coco"), "--format coco is JSON"),
        (("--output", "/proc/people.jsonl"), "/proc/people.jsonl.parts: cannot be written"),
        (("--detect-every", "3"), "--detect-every and --smooth go with --track"),
        (("--output", "no/such/folder/people.json"), "there is no folder no/such/folder"),
        (("--output", "-", "--anonymous"), "--anonymous draws"),
        (("--anonymous",), "--anonymous draws"),
        (("--format", "coco"), "--format coco is JSON"),
        (("--output", "drawn.mp4", "--format", "coco"), "--format coco is JSON"),
        (("--pose-model", "other"), "there is no model 'other'"),
        (("--repository", "nowhere"), "nowhere: no such model repository"),
        (("--detector-size", "330"), "detector_size: Input should be a multiple of 32"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    predict: Predict,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    options: tuple[str, ...],
    message: str,
):
    monkeypatch.chdir(pictures)
    if "--detector-size" in options:
        monkeypatch.setattr("sys.argv", ["farpose", "predict", "000000000785.jpg", *options])
        with pytest.raises(SystemExit, match="1"):
            main()
    else:
        assert predict("000000000785.jpg", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
