"""Exports of CVAT, as its two formats that know skeletons write them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from farpose.evaluation.dataset import load_dataset
from farpose.keypoints import COCO17, MPII16
from farpose_training.data.cvat import (
    CvatError,
    CvatPerson,
    CvatPicture,
    JointLabels,
    held_out,
    joint_of,
    open_export,
    read_coco,
    read_xml,
    to_coco,
)

PIXEL = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"
    b"\0\0\0\x0cIDATx\x9cc\xf8\xcf\xc0\0\0\3\1\1\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82"
)


def coco_export(**changes: object) -> dict:
    """One picture with one person of three joints in the annotator's order."""
    person = {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 60], "iscrowd": 0}
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 120}],
        "categories": [
            {"id": 1, "name": "car", "keypoints": []},
            {"id": 2, "name": "person", "keypoints": ["Right-Ankle", "left shoulder", "NOSE"]},
        ],
        "annotations": [person | {"keypoints": [40, 80, 2, 10, 30, 1, 20, 20, 0]}],
    } | changes


def xml_export(inner: str) -> bytes:
    head = '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
    image = f'<image id="0" name="a.png" subset="cam" width="100" height="120">{inner}</image>'
    return f"{head}{image}</annotations>".encode()


SKELETON = """
<skeleton label="person" source="manual" z_order="0" group_id="3">
  <points label="Right-Ankle" occluded="0" source="manual" outside="0" points="40.00,80.00"/>
  <points label="left shoulder" occluded="1" source="manual" outside="0" points="10.00,30.00"/>
  <points label="NOSE" occluded="0" source="manual" outside="1" points="20.00,20.00"/>
  <attribute name="id">4</attribute>
</skeleton>
"""
BOX = '<box label="person" occluded="0" xtl="5" ytl="8" xbr="45" ybr="100" group_id="3"/>'


@pytest.mark.parametrize(
    ("label", "joint"),
    [
        ("left shoulder", "left_shoulder"),
        ("Left-Shoulder", "left_shoulder"),
        ("LEFT_SHOULDER", "left_shoulder"),
        ("LeftShoulder", "left_shoulder"),
        ("leftshoulder", "left_shoulder"),
        ("shoulder (left)", "left_shoulder"),  # the side may come last
        ("L_Shoulder", "left_shoulder"),
        ("r. ear", "right_ear"),
        ("rear", None),  # no right ear
        ("head top", "head_top"),
        ("shoulder", None),  # which one?
        ("1", None),  # what CVAT calls a joint that was not named
        ("", None),
    ],
)
def test_joints_are_recognised_by_name(label: str, joint: str | None):
    assert joint_of(label) == joint


@pytest.mark.parametrize("kind", ["coco", "xml"])
def test_both_formats_give_the_same_joints_in_the_order_of_the_set(kind: str):
    if kind == "coco":
        (picture,) = read_coco(coco_export(), "x.json", JointLabels())
    else:
        (picture,) = read_xml(xml_export(SKELETON), "x.xml", JointLabels())
    assert (picture.name, picture.width, picture.height) == ("a.png", 100, 120)
    (person,) = picture.people
    visible = {COCO17.joints[j]: person.keypoints[j].tolist() for j in range(17)}
    assert visible["right_ankle"] == [40, 80, 2]
    assert visible["left_shoulder"] == [10, 30, 1]  # occluded
    assert visible["nose"] == [20, 20, 0]  # outside
    assert person.extent == (10, 30, 40, 80)
    assert visible["left_hip"] == [0, 0, 0]  # not in the skeleton


def test_joints_that_the_set_lacks_are_dropped():
    labels = ["pelvis", "left knee"]
    assert JointLabels(COCO17).channels(labels, "x").tolist() == [-1, COCO17.index("left_knee")]
    assert JointLabels(MPII16).channels(labels, "x").tolist() == [6, 4]


def person_with_two_joints(box: tuple[float, float, float, float] | None) -> CvatPerson:
    joints = np.array([[10.0, 30, 2], [40, 80, 2], [15, 50, 1], [90, 90, 0]])
    return CvatPerson.from_joints(joints, np.array([5, 16, -1, 0]), 17, box)


def test_joints_become_pixel_indices_and_boxes_stay_continuous():
    person = person_with_two_joints((4.0, 8.0, 45.0, 100.0))
    content = to_coco([CvatPicture("a.png", 100, 120, (person,))], COCO17)
    (annotation,) = content["annotations"]
    assert annotation["keypoints"][15:18] == [9.5, 29.5, 2]
    assert annotation["keypoints"][:3] == [0, 0, 0]
    assert annotation["bbox"] == [4, 8, 41, 92]
    assert annotation["num_keypoints"] == 2


@pytest.mark.parametrize(
    "box",
    [
        None,  # CVAT for images has none
        (0.0, 0.0, 0.0, 0.0),  # older versions write this for the people of a track
        (10.0, 30.0, 40.0, 80.0),  # CVAT's own: the extent of the joints
        (10.4, 30.0, 40.0, 80.9),
    ],
)
def test_a_box_nobody_drew_becomes_the_enlarged_extent(
    box: tuple[float, float, float, float] | None,
):
    picture = CvatPicture("a.png", 100, 82, (person_with_two_joints(box),))
    (annotation,) = to_coco([picture], COCO17)["annotations"]
    assert annotation["bbox"] == [7, 25, 36, 57]  # 3 wider and 5 higher per side, cut at 82


def test_joints_that_the_set_lacks_still_make_the_person_larger():
    joints = np.array([[10.0, 30, 2], [40, 80, 2], [40, 90, 2]])
    person = CvatPerson.from_joints(joints, np.array([5, 16, -1]), 17, (10, 30, 40, 90))
    (annotation,) = to_coco([CvatPicture("a.png", 100, 120, (person,))], COCO17)["annotations"]
    assert annotation["bbox"] == [7, 24, 36, 72]


def test_people_without_a_size_are_left_out_and_empty_pictures_stay():
    alone = CvatPerson.from_joints(np.array([[5.0, 5, 2]]), np.array([0]), 17)
    pictures = [CvatPicture("a.png", 9, 9, (alone,)), CvatPicture("b.png", 9, 9, ())]
    content = to_coco(pictures, COCO17)
    assert content["annotations"] == []
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]


def test_a_box_grouped_with_the_skeleton_is_the_persons():
    (picture,) = read_xml(xml_export(BOX + SKELETON), "x.xml", JointLabels())
    assert picture.people[0].box == (5, 8, 45, 100)
    for inner in (BOX.replace('"3"', '"4"') + SKELETON, BOX + SKELETON + SKELETON):
        (picture,) = read_xml(xml_export(inner), "x.xml", JointLabels())
        assert picture.people[0].box is None  # whose is it?


def skeleton_of(*labels: str) -> dict:
    return coco_export(categories=[{"id": 2, "name": "person", "keypoints": list(labels)}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (skeleton_of("nose", "tail", "neck"), r"label 'tail' is no known joint.*--drop 'tail'"),
        (skeleton_of("nose", "tail", "neck"), r"Known are.*left_shoulder.*thorax"),
        (skeleton_of("Nose", "left hip", "nose"), r"\['Nose', 'nose'\] all mean nose"),
        (skeleton_of("neck", "thorax", "pelvis"), r"none of its joints .* is one of coco17"),
        (skeleton_of("nose", "left hip"), r"annotation 1 has 9 numbers.*skeleton 2 joints"),
        (coco_export(categories=[]), "none of its skeletons has joints"),
        (coco_export(images=[{"id": 7}]), "not a COCO-style keypoint file"),
        (coco_export(images=[{"id": 7, "file_name": "a", "width": "wide", "height": 1}]), "not a"),
        ([], "not a COCO-style keypoint file"),
    ],
)
def test_errors_of_coco_keypoints_say_what_to_do(content: object, message: str):
    with pytest.raises(CvatError, match=message):
        read_coco(content, "x.json", JointLabels())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<annotations>", "not an XML file of CVAT"),
        (b"<svg/>", "CVAT for images 1.1"),
        (b"<annotations><track id='0' label='person'/></annotations>", "CVAT for images 1.1"),
        (xml_export(BOX), "there are no skeletons in its 1 pictures"),
        (xml_export(SKELETON.replace("NOSE", "tail")), "label 'tail' is no known joint"),
        (xml_export(SKELETON.replace("40.00,80.00", "4;5")), "'4;5' is not one position"),
        (b'<annotations><image id="0"/></annotations>', "lacks the attribute 'name'"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "not an XML file"),
    ],
)
def test_errors_of_cvat_for_images_say_what_to_do(text: bytes, message: str):
    with pytest.raises(CvatError, match=message):
        read_xml(text, "x.xml", JointLabels())


def test_a_label_can_be_dropped_and_a_skeleton_chosen():
    content = skeleton_of("nose", "tail", "left hip")
    read_coco(content, "x.json", JointLabels(drop=("tail",)))
    (picture,) = read_xml(xml_export(SKELETON), "x.xml", JointLabels(), skeleton="person")
    assert len(picture.people) == 1
    with pytest.raises(CvatError, match="no skeletons named 'dog'"):
        read_xml(xml_export(SKELETON), "x.xml", JointLabels(), skeleton="dog")


@pytest.mark.parametrize("folder", ["images", "images/cam"])
def test_pictures_are_named_as_they_lie_in_the_export(tmp_path: Path, folder: str):
    unpacked = tmp_path / "unpacked"
    (unpacked / folder).mkdir(parents=True)
    (unpacked / folder / "a.png").write_bytes(PIXEL)
    (unpacked / "annotations.xml").write_bytes(xml_export(SKELETON))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in unpacked.rglob("*.*"):
            archive.write(file, file.relative_to(unpacked))
    for source in (unpacked, tmp_path / "export.zip"):
        with open_export(source) as export:
            pictures = export.pictures(JointLabels())
            export.copy_pictures(pictures, tmp_path / source.stem)
        name = f"{folder}/a.png".removeprefix("images/")
        assert [picture.name for picture in pictures] == [name]
        assert (tmp_path / source.stem / name).read_bytes() == PIXEL


def test_a_picture_cannot_leave_the_folder(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("../a.png", PIXEL)
        text = xml_export(SKELETON).replace(b'name="a.png"', b'name="../a.png"')
        archive.writestr("annotations.xml", text)
    with open_export(tmp_path / "export.zip") as export:
        pictures = export.pictures(JointLabels())
        with pytest.raises(CvatError, match="leads out of"):
            export.copy_pictures(pictures, tmp_path / "images")
    assert not (tmp_path / "a.png").exists()


def test_neighbouring_frames_are_held_out_together():
    names = [f"frame_{i}.png" for i in range(100)]
    val = held_out(reversed(names), 0.2)
    assert val == held_out(names, 0.2)  # whatever the order
    assert len(val) == 20
    inside = [name in val for name in names]  # by number: frame_10 comes after frame_9
    changes = sum(a != b for a, b in zip(inside[1:], inside[:-1], strict=True))
    assert changes <= 8  # four blocks of five frames


def test_both_sides_get_pictures_however_few_there_are():
    assert len(held_out(["a", "b"], 0.01)) == 1
    assert len(held_out(["a", "b"], 0.99)) == 1
    with pytest.raises(ValueError, match="of 1 pictures"):
        held_out(["a"], 0.2)


def convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "farpose_training.data.cvat", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_writes_files_that_the_evaluation_reads(tmp_path: Path):
    person = coco_export()["annotations"][0]
    images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 120} for i in range(10)]
    people = [person | {"id": i + 1, "image_id": i} for i in range(10)]
    people.append(person | {"id": 11, "keypoints": [0] * 9})
    people.append(person | {"id": 12, "keypoints": []})
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        text = json.dumps(coco_export(images=images, annotations=people))
        archive.writestr("annotations/person_keypoints_default.json", text)
        for i in range(10):
            archive.writestr(f"images/default/{i}.png", PIXEL)
    options = ["--output", tmp_path / "labels.json", "--images", tmp_path / "i", "--holdout", 0.2]
    done = convert(tmp_path / "export.zip", *options)
    assert done.returncode == 0, done.stderr
    assert "labels_train.json: 8 pictures, 8 people, 2 with fewer than 2 joints" in done.stdout
    val = load_dataset(tmp_path / "labels_val.json", tmp_path / "i")
    assert len(val) == 2
    assert val.keypoint_set is COCO17
    assert not (tmp_path / "labels.json").exists()


def test_mistakes_end_in_one_line(tmp_path: Path):
    (tmp_path / "x.json").write_text(json.dumps(skeleton_of("nose", "tail", "left hip")))
    done = convert(tmp_path / "x.json", "--output", tmp_path / "y.json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "'tail'" in done.stderr
    assert not (tmp_path / "y.json").exists()
