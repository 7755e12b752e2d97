"""Drawn people: their joints are where they are drawn, and their folders can be trusted."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.keypoints import COCO17
from farpose_training.config import ConfigError, SourceConfig, annotated, parse_train_config
from farpose_training.data.drawn.clothes import random_clothes
from farpose_training.data.drawn.drawing import Placement, draw
from farpose_training.data.drawn.picture import box_and_area, draw_person
from farpose_training.data.drawn.poses import random_body
from farpose_training.data.drawn.shapes import Group, Shape, dressed, seen
from farpose_training.data.drawn.skeleton import BONES, Angles, Arm, Leg, about_y, posed
from farpose_training.data.drawn.source import materialised
from farpose_training.data.drawn.writing import write_procedural
from farpose_training.data.people import load_people
from farpose_training.study.config import ScoreConfig
from farpose_training.trainer import train

STRAIGHT = Arm(0, 0, 0, 0), Leg(0, 0, 0)
LIGHT = np.array((0.0, 1.0))


def body(left_arm=STRAIGHT[0], left_leg=STRAIGHT[1], **trunk):
    """Someone who stands straight but for what is given."""
    angles = dict.fromkeys(("lean", "tilt", "twist", "turn", "nod"), 0.0) | trunk
    pose = Angles(arms=(left_arm, STRAIGHT[0]), legs=(left_leg, STRAIGHT[1]), **angles)
    return posed(pose, BONES, 1.0)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    write_procedural(folder, people=12, seed=3, heights=(40, 120))
    return folder


def test_a_straight_body_is_one_height_tall_with_its_left_at_positive_x():
    points = body().points
    crown, sole = points["head"][1] + 0.065, points["left_toe"][1] - 0.011
    assert crown - sole == pytest.approx(1.0, abs=0.02)
    assert all(
        points[f"left_{j}"][0] > 0 > points[f"right_{j}"][0] for j in ("wrist", "hip", "eye")
    )


@pytest.mark.parametrize(
    ("change", "joint", "expected"),
    [
        # An arm raised to the front: the wrist is an arm's length before the shoulder.
        ({"left_arm": Arm(90, 0, 0, 0)}, "left_wrist", (0.118, 0.288, 0.332)),
        # To the side.
        ({"left_arm": Arm(0, 90, 0, 0)}, "left_wrist", (0.450, 0.288, 0)),
        # A bent elbow brings the forearm to the front, and turned inwards across the body.
        ({"left_arm": Arm(0, 0, 0, 90)}, "left_wrist", (0.118, 0.102, 0.146)),
        ({"left_arm": Arm(0, 0, 90, 90)}, "left_wrist", (-0.028, 0.102, 0)),
        # A knee bends backwards, and sitting brings the shank down from a level thigh.
        ({"left_leg": Leg(0, 0, 90)}, "left_ankle", (0.08, -0.245, -0.246)),
        ({"left_leg": Leg(90, 0, 90)}, "left_ankle", (0.08, -0.246, 0.245)),
        # Leaning brings the shoulders to the front, and leaves the hips.
        ({"lean": 90}, "left_shoulder", (0.118, 0, 0.288)),
    ],
)
def test_joints_turn_as_a_body_does(change, joint, expected):
    assert body(**change).points[joint] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("turn", "visible"),
    [
        (0, {"nose", "left_eye", "right_eye"}),
        (180, set()),
        # Turned to its own left, the picture's right, a head shows its right side.
        (90, {"right_ear", "nose", "right_eye"}),
        (-90, {"left_ear", "nose", "left_eye"}),
    ],
)
def test_a_face_is_seen_from_its_side(turn, visible):
    person, view = body(), about_y(turn + 0.0)
    face = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
    assert {joint for joint in face if seen(joint, "head", person, view)} == visible


def test_what_is_nearer_to_the_viewer_is_drawn_later():
    clothes = random_clothes(np.random.default_rng(0))
    from_its_left = [g.name for g in dressed(body(), clothes, about_y(-90))]
    order = [from_its_left.index(g) for g in ("right_forearm", "trunk", "left_forearm")]
    assert order == sorted(order)


@pytest.mark.parametrize("supersampling", [2, 4])
def test_a_ball_is_drawn_where_its_middle_is_said_to_be(supersampling):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        middle = np.array([[*rng.uniform(-0.1, 0.1, 2), 0]])
        ball = Shape(middle, np.array([0.05]), (255, 255, 255), flat=True)
        placement = Placement(100.0, 40 + rng.uniform(-0.5, 0.5, 2))
        layer = draw([Group("ball", (ball,), 0.0)], placement, (80, 80), LIGHT, supersampling)
        rows, columns = np.indices(layer.coverage.shape)
        seen_at = [(at * layer.coverage).sum() / layer.coverage.sum() for at in (columns, rows)]
        assert seen_at == pytest.approx(placement.pixels(middle)[0], abs=0.1)


def test_a_box_has_continuous_edges():
    coverage = np.zeros((9, 9), np.float32)
    coverage[2:5, 3:8] = 1
    box, area = box_and_area(coverage)
    assert box.tolist() == [3, 2, 8, 5]
    assert area == 15


def test_a_seen_joint_lies_in_the_box_of_what_is_seen():
    seen_joints = 0
    for seed in range(12):
        person = draw_person(150, np.random.default_rng(seed))
        height, width = person.picture.shape[:2]
        x1, y1, x2, y2 = person.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert y2 - y1 <= 152
        assert 0 < person.area < (x2 - x1) * (y2 - y1)
        points = person.keypoints[person.keypoints[:, 2] == 2, :2]
        assert ((points >= (x1, y1)) & (points <= (x2, y2))).all()
        assert set(person.keypoints[:, 2]) <= {1, 2}
        seen_joints += len(points)
    assert 12 * 8 < seen_joints < 12 * 17


def test_every_pose_keeps_the_bones_lengths():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = random_body(rng).points
        for side in ("left", "right"):
            shank = np.linalg.norm(points[f"{side}_ankle"] - points[f"{side}_knee"])
            assert 0.19 < shank < 0.30


def test_the_same_settings_draw_the_same_bytes_and_another_seed_others(tmp_path, drawn):
    write_procedural(tmp_path / "again", people=12, seed=3, heights=(40, 120))
    write_procedural(tmp_path / "other", people=12, seed=4, heights=(40, 120))
    same, other = digests(tmp_path / "again"), digests(tmp_path / "other")
    assert same == digests(drawn)
    assert not set(same.values()) & set(other.values())


def test_a_written_folder_is_read_as_coco_people_of_the_asked_heights(drawn):
    people = load_dataset(drawn / "people.json", drawn)
    assert (len(people), people.keypoint_set) == (12, COCO17)
    assert (people.keypoints[:, :, 2] > 0).all()
    assert people.heights.max() <= 122
    for picture in people.pictures:
        assert picture.read().shape == (picture.height, picture.width, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": 13}, "drawn with people 12 instead of 13; name another folder"),
        ({"seed": 5}, "drawn with seed 3 instead of 5"),
        (
            {"heights": (40.0, 99.0)},
            r"drawn with heights \[40.0, 120.0\] instead of \[40.0, 99.0\]",
        ),
    ],
)
def test_a_folder_of_other_settings_is_refused(drawn, change, message):
    with pytest.raises(DatasetError, match=message):
        write_procedural(drawn, **{"people": 12, "seed": 3, "heights": (40, 120)} | change)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="holds no drawn people"):
        write_procedural(tmp_path, people=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_killed_writer_leaves_no_folder_and_the_next_one_makes_it(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from farpose_training.data.drawn import writing\n"
        "draw = writing.draw_person\n"
        "count = iter(range(3))\n"
        "killed = lambda: next(count, None) is None\n"
        "writing.draw_person = lambda *a: os._exit(9) if killed() else draw(*a)\n"
        "writing.write_procedural(Path(sys.argv[1]), 8, 0, (16, 24))\n"
    )
    folder = tmp_path / "set"
    killed = subprocess.run([sys.executable, "-c", code, folder], check=False)
    assert killed.returncode == 9
    assert not folder.exists()
    write_procedural(folder, 8, 0, (16, 24))
    assert len(load_dataset(folder / "people.json", folder)) == 8


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"file/set: cannot be written \(Not a directory|File"):
        write_procedural(tmp_path / "file" / "set", people=1, seed=0)


def test_a_source_is_drawn_once_where_it_is_first_read(tmp_path):
    source = ScoreConfig.model_validate(
        {
            "name": "x",
            "source": {"kind": "procedural", "folder": tmp_path / "set", "people": 3},
        }
    ).source
    assert not (tmp_path / "set").exists()
    ready = materialised(source)
    written = ready.annotations.stat().st_mtime_ns
    assert ready == annotated(source) == materialised(ready)
    assert len(load_people([source], COCO17)) == 3
    assert ready.annotations.stat().st_mtime_ns == written


def test_a_run_trains_and_is_scored_on_drawn_people(settings, tmp_path):
    drawn = {"kind": "procedural", "people": 9, "heights": [24, 40]}
    settings["train"].append(drawn | {"folder": str(tmp_path / "train"), "repeat": 2})
    settings["val"] = drawn | {"folder": str(tmp_path / "val"), "seed": 1}
    train(parse_train_config(settings))
    log = (tmp_path / "run" / "log.jsonl").read_text()
    records = [json.loads(line) for line in log.splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert 0 <= records[-1]["pck_0.5"] <= 1
    assert len(load_dataset(tmp_path / "train" / "people.json", tmp_path / "train")) == 9


def test_a_source_without_kind_is_an_annotated_folder(settings):
    config = parse_train_config(settings)
    assert all(isinstance(source, SourceConfig) for source in (*config.train, config.val))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "drawn"}, "val: `kind` is procedural for drawn people, and not given for"),
        ({"kind": "procedural", "folder": "x"}, r"val\.procedural\.people: Field required"),
        (
            {"kind": "procedural", "folder": "x", "people": 2, "heights": [50, 20]},
            r"heights \[50\.0, 20\.0\]: the lower one first, at least 8 pixels",
        ),
        ({"annotations": "a.json"}, r"val\.annotated\.images: Field required"),
    ],
)
def test_a_wrong_source_is_refused_by_name(settings, source, message):
    with pytest.raises(ConfigError, match=message):
        parse_train_config(settings | {"val": source})
