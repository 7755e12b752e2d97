"""What other programs read: Parquet, CVAT's XML, YOLO labels, tracks in all that can hold them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farpose.archive.records import FRAME, DamagedPartError, frame_of, packed_frame, records
from farpose.keypoints import COCO17
from farpose.people import People
from farpose.pipeline import PoseResult
from farpose.sources import Frame
from farpose_training.data.cvat import JointLabels, read_xml
from tests.core.conftest import Predict

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def documents(archive: Path, predict: Predict, capsys: Capture) -> list[dict]:
    """What `--output -` says of the archive's good files, followed."""
    assert predict(archive / "*.jpg", archive / "first.mp4", "--track", "--output", "-") == 1
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_all_formats_say_the_same(
    archive: Path, predict: Predict, tmp_path: Path, documents: list[dict]
):
    sources = [archive / "*.jpg", archive / "first.mp4", "--track"]
    table_path, xml, labels = tmp_path / "t.parquet", tmp_path / "l.xml", tmp_path / "labels"
    coco = tmp_path / "coco.json"
    assert predict(*sources, "--output", table_path) == 1
    assert predict(*sources, "--output", xml, "--format", "cvat") == 1
    assert predict(*sources, "--output", labels, "--format", "yolo") == 1
    assert predict(*sources, "--output", coco, "--format", "coco") == 1
    check_table(pq.read_table(table_path), documents)
    check_cvat(xml, documents)
    check_yolo(labels, documents)
    found = [
        (r["file_name"], r.get("frame"), r.get("track_id")) for r in json.loads(coco.read_text())
    ]
    assert found == [
        (Path(d["source"]).name, d.get("frame"), p.get("track_id"))
        for d in documents
        for p in d["people"]
    ]
    assert any(identity is not None for _, _, identity in found)


def check_table(table: pa.Table, documents: list[dict]) -> None:
    rows = table.to_pylist()
    names = json.loads(table.schema.metadata[b"keypoint_names"])
    assert names == documents[0]["keypoint_names"]
    assert table.schema.field("keypoints").type == pa.list_(pa.float32(), 51)
    expected = [(d, p) for d in documents for p in d["people"] or [None]]
    assert len(rows) == len(expected)
    for row, (document, person) in zip(rows, expected, strict=True):
        assert row["source"] == document["source"]
        assert (row["frame"], row["people"]) == (document.get("frame"), len(document["people"]))
        assert row["time"] == pytest.approx(document.get("time"))
        assert {"width": row["width"], "height": row["height"]} == document["image"]
        if person is None:
            assert row["person"] is row["box"] is row["keypoints"] is row["model"] is None
            continue
        assert person == document["people"][row["person"]]
        assert row["track_id"] == person.get("track_id")
        assert row["score"] == pytest.approx(person["score"], abs=1e-4)
        assert row["box"] == pytest.approx(person["box"], abs=0.01)
        joints = np.reshape(row["keypoints"], (17, 3))
        assert np.abs(joints - person["keypoints"]).max() < 0.01
        assert row["model"] == "lowres_pose"
        assert row["model_version"] == document["models"]["lowres_pose"]


def check_cvat(path: Path, documents: list[dict]) -> None:
    pictures = read_xml(path.read_bytes(), str(path), JointLabels(COCO17))
    names = [p.name for p in pictures]
    assert names == ["000000000785.jpg", "000000001000.jpg"] + [
        f"first/frame_{i:06d}" for i in range(30)
    ]
    for picture, document in zip(pictures, documents, strict=True):
        assert len(picture.people) == len(document["people"])
        for person, known in zip(picture.people, document["people"], strict=True):
            assert person.box == pytest.approx(known["box"], abs=0.011)
            joints = np.array(known["keypoints"])
            seen = person.keypoints[:, 2] > 0
            # Documents have four digits of a score.
            told = np.abs(joints[:, 2] - 0.2) > 1e-4
            assert (seen == (joints[:, 2] >= 0.2))[told].all()
            moved = person.keypoints[seen, :2] - 0.5 - joints[seen, :2]
            assert np.abs(moved).max(initial=0) < 0.011


def check_yolo(folder: Path, documents: list[dict]) -> None:
    labels = sorted((folder / "labels").iterdir())
    names = ["000000000785", "000000001000", *(f"first-{i:06d}" for i in range(30))]
    assert [p.name for p in labels] == [f"{name}.txt" for name in names]
    assert "kpt_shape: [17, 3]" in (folder / "data.yaml").read_text()
    for path, document in zip(labels, documents, strict=True):
        lines = path.read_text().splitlines()
        assert len(lines) == len(document["people"])
        size = np.array([document["image"]["width"], document["image"]["height"]])
        for line, person in zip(lines, document["people"], strict=True):
            kind, *numbers = map(float, line.split())
            assert kind == 0 and len(numbers) == 4 + 51
            x1, y1, x2, y2 = np.clip(np.reshape(person["box"], (2, 2)), 0, size).ravel()
            middle, extent = np.reshape(numbers[:4], (2, 2)) * size
            assert middle == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2], abs=0.02)
            assert extent == pytest.approx([x2 - x1, y2 - y1], abs=0.02)
            joints, known = np.reshape(numbers[4:], (17, 3)), np.array(person["keypoints"])
            seen = joints[:, 2] == 2
            assert not (seen & (known[:, 2] < 0.2)).any()
            assert np.abs(joints[seen, :2] * size - 0.5 - known[seen, :2]).max(initial=0) < 0.02


def test_detecting_less_keeps_the_tracks(archive: Path, predict: Predict, capsys: Capture):
    followed = []
    for every in (1, 3):
        asked = [archive / "first.mp4", "--track", "--detect-every", every, "--smooth"]
        assert predict(*asked, "--output", "-") == 0
        lines = map(json.loads, capsys.readouterr().out.splitlines())
        followed.append([{p.get("track_id") for p in line["people"]} for line in lines])
    assert len(followed[0]) == len(followed[1]) == 30
    assert {1} & set.union(*followed[0]) & set.union(*followed[1])


def test_drawings_are_made_from_the_parts(archive: Path, predict: Predict, tmp_path: Path):
    assert predict(archive / "first.mp4", "--output", tmp_path / "drawn") == 0
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == [f"first-{i:06d}.jpg" for i in range(30)]
    source = cv2.VideoCapture(str(archive / "first.mp4"), cv2.CAP_FFMPEG)
    frame = source.read()[1].astype(int)
    source.release()
    first = cv2.imread(str(tmp_path / "drawn" / names[0]))
    assert first is not None and np.abs(first.astype(int) - frame).mean() < 15


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("count", [0, 3])
def test_a_part_keeps_every_bit(tmp_path: Path, count: int, tracked: bool):
    random = np.random.default_rng(count)
    people = People(
        random.random((count, 4), np.float32) * 1000,
        random.random(count, np.float32),
        random.random((count, 17, 3), np.float32),
        random.random((count, 17, 2), np.float32),
        ("lowres_pose",) * count,
        track_ids=np.arange(-1, count - 1) if tracked else None,
    )
    frame = Frame(Path("a.mp4"), np.zeros((0, 0, 3), np.uint8), 7, 29.97, 7 / 29.97, 100)
    path = tmp_path / "part"
    path.write_bytes(packed_frame(frame, PoseResult(people, 640, 480, {"lowres_pose": "2"})))
    with path.open("rb") as stream:
        (record,) = records(stream)
    assert record.kind == FRAME
    same, result = frame_of(record.content, Path("a.mp4"))
    assert (same.index, same.rate, same.time, same.frames) == (7, 29.97, 7 / 29.97, 100)
    assert (result.width, result.height, result.models) == (640, 480, {"lowres_pose": "2"})
    for name in ("boxes", "scores", "keypoints", "variances"):
        assert getattr(result.people, name).tobytes() == getattr(people, name).tobytes()
    ids = result.people.track_ids
    assert (ids is None) is not tracked
    assert ids is None or (ids == people.track_ids).all()


@pytest.mark.parametrize("damage", [slice(0, -1), slice(0, 5)])
def test_a_damaged_part_is_found_out(tmp_path: Path, damage: slice):
    frame = Frame(Path("a.mp4"), np.zeros((0, 0, 3), np.uint8), 0)
    content = packed_frame(frame, PoseResult(People.empty(), 640, 480, {}))
    (tmp_path / "cut").write_bytes(content[damage])
    (tmp_path / "other").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for name in ("cut", "other"):
        with (tmp_path / name).open("rb") as stream, pytest.raises(DamagedPartError):
            list(records(stream))
