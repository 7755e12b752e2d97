from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from farpose.crop import crop_people
from farpose.evaluation.dataset import DatasetError
from farpose.evaluation.formats import format_of, load_annotated
from farpose.evaluation.mpii import load_mpii
from farpose.geometry import CropGeometry
from farpose.keypoints import MPII16

JOINTS = np.array([[60.0 + 3 * j, 40.0 + 5 * j] for j in range(16)])
PERSON = {
    "image": "a.png",
    "center": [80.0, 70.0],
    "scale": 0.5,
    "joints": JOINTS.tolist(),
    "joints_vis": [1] * 15 + [0],
}
NOBODY = PERSON | {"joints": [[-1, -1]] * 16, "joints_vis": [0] * 16}
OTHER = PERSON | {"image": "b.png", "joints": (JOINTS + 1).tolist(), "scale": 0.4}


def write(folder: Path, people: object, name: str = "valid") -> Path:
    for picture in ("a.png", "b.png"):
        cv2.imwrite(str(folder / picture), np.zeros((160, 200, 3), np.uint8))
    path = folder / f"{name}.json"
    path.write_text(json.dumps(people))
    return path


def write_truth(path: Path, people: list[dict], **changes: object) -> None:
    """Head boxes of 30 x 40 pixels, whose diagonal is 50."""
    boxes = np.zeros((2, 2, len(people)))
    boxes[1] = np.array([30.0, 40.0])[:, None]
    content = {
        "headboxes_src": boxes + 7,
        "jnt_missing": 1 - np.array([p["joints_vis"] for p in people], np.uint8).T,
        "pos_gt_src": np.array([p["joints"] for p in people], np.float64).transpose(1, 2, 0),
    }
    savemat(path, {name: value for name, value in (content | changes).items() if value is not None})


def test_people_are_read_with_indices_from_0(tmp_path: Path):
    dataset = load_mpii(write(tmp_path, [PERSON, NOBODY, OTHER]), tmp_path)
    assert dataset.keypoint_set is MPII16
    assert [picture.path.name for picture in dataset.pictures] == ["a.png", "b.png"]
    assert (dataset.pictures[0].width, dataset.pictures[0].height) == (200, 160)
    assert dataset.picture_index.tolist() == [0, 1]
    assert dataset.keypoints[0, 0].tolist() == [59, 39, 2]
    assert dataset.keypoints[0, 15].tolist() == [0, 0, 0]
    assert dataset.heights == pytest.approx([100, 80])
    assert dataset.head_sizes is None


def test_the_crop_is_hrnets_square(tmp_path: Path):
    dataset = load_mpii(write(tmp_path, [PERSON]), tmp_path)
    geometry = CropGeometry.from_boxes(dataset.boxes)
    # Centre (80, 70 + 15 * 0.5), from 0; side 200 * 0.5 * 1.25.
    assert geometry.centers.tolist() == [[79, 76.5]]
    assert geometry.sides.tolist() == [125]


def test_a_joint_lies_on_its_dot_in_the_crop(tmp_path: Path):
    path = write(tmp_path, [PERSON])
    image = np.zeros((160, 200, 3), np.uint8)
    image[113, 107] = 255  # what MPII calls (108, 114)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    path.write_text(json.dumps([PERSON | {"joints": [[108, 114]] * 16}]))
    dataset = load_mpii(path, tmp_path)
    geometry = CropGeometry.from_boxes(dataset.boxes)
    crop = crop_people(dataset.pictures[0].read(), geometry, 256)[0, :, :, 0].astype(float)
    rows, columns = np.indices(crop.shape)
    seen = (crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()
    labelled = geometry.to_crop(dataset.keypoints[:, :1, :2], 256)[0, 0]
    assert seen == pytest.approx(labelled, abs=0.05)


def test_head_sizes_and_joints_come_from_the_truth_beside_the_file(tmp_path: Path):
    people = [PERSON, NOBODY, OTHER]
    path = write(tmp_path, people)
    moved = [p | {"joints": (np.array(p["joints"]) + 2).tolist()} for p in people]
    moved[2] = moved[2] | {"joints_vis": [0, 0] + [1] * 14}
    write_truth(tmp_path / "gt_valid.mat", moved)
    dataset = load_mpii(path, tmp_path)
    assert dataset.head_sizes == pytest.approx([30, 30])
    assert dataset.keypoints[0, 0].tolist() == [61, 41, 2]
    assert dataset.keypoints[1, :3, 2].tolist() == [0, 0, 2]
    assert load_mpii(write(tmp_path, people, "train"), tmp_path).head_sizes is None


def test_one_person_alone_has_a_head_size(tmp_path: Path):
    path = write(tmp_path, [PERSON])
    write_truth(tmp_path / "gt_valid.mat", [PERSON])
    assert load_mpii(path, tmp_path).head_sizes == pytest.approx([30])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"headboxes_src": None}, "has no headboxes_src"),
        (
            {"jnt_missing": np.zeros((16, 3))},
            r"jnt_missing has shape \(16, 3\), expected \(16, 1\)",
        ),
        ({"pos_gt_src": JOINTS[..., None] + 100}, "not of the same people"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
):
    path = write(tmp_path, [PERSON])
    write_truth(tmp_path / "gt_valid.mat", [PERSON], **changes)
    with pytest.raises(DatasetError, match=message) as refused:
        load_mpii(path, tmp_path)
    assert "gt_valid.mat" in str(refused.value)


def without(field: str) -> dict:
    return {name: value for name, value in PERSON.items() if name != field}


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({}, "a list of people is expected"),
        ([without("scale")], "person 0 has no 'scale'"),
        ([PERSON, PERSON | {"joints": [[1, 2]] * 15}], r"person 1 has `joints` of shape \(15, 2\)"),
        ([PERSON | {"center": 3}], "person 0 is malformed"),
        ([3], "person 0 is malformed"),
        ([NOBODY], "no person has a labelled joint"),
        ([], "no person has a labelled joint"),
        (
            [NOBODY, PERSON | {"joints": [[float("nan"), 2]] * 16}],
            r"person 1 \(a\.png\) has a number in `joints` that is not finite",
        ),
        ([PERSON | {"center": [float("inf"), 3]}], r"person 0 .* in `center` that is not finite"),
        ([PERSON, PERSON | {"scale": float("nan")}], r"person 1 .* `scale` that is not finite"),
        ([PERSON | {"image": "c.png"}], r"c\.png for one: is the picture folder right"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, people: object, message: str):
    with pytest.raises(DatasetError, match=message) as refused:
        load_mpii(write(tmp_path, people), tmp_path)
    assert "valid.json" in str(refused.value)


def test_joints_that_are_not_labelled_may_have_any_numbers(tmp_path: Path):
    joints = [*PERSON["joints"][:15], [float("nan"), -1]]
    dataset = load_mpii(write(tmp_path, [PERSON | {"joints": joints}]), tmp_path)
    assert dataset.keypoints[0, 15].tolist() == [0, 0, 0]


def test_an_unreadable_picture_is_named(tmp_path: Path):
    path = write(tmp_path, [PERSON])
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.png: not a readable picture"):
        load_mpii(path, tmp_path)


def point(joint: int, visible: object) -> dict:
    return {"x": 10.0 + joint, "y": 20.0 + joint, "id": joint, "is_visible": visible}


def rect(points: object, **changes: object) -> dict:
    return {
        "x1": 7,
        "y1": 7,
        "x2": 37,
        "y2": 47,
        "annopoints": {"point": points},
        "scale": 0.5,
        "objpos": {"x": 80, "y": 70},
    } | changes


def release(folder: Path) -> Path:
    """Two pictures with people, of whom one has no joints, and one of the test set."""
    empty = np.zeros((0, 0))
    several = np.array([point(0, "1"), point(9, "0"), point(6, empty)])
    two = np.array([rect(several), rect(several, annopoints=empty)])
    annolist = [
        {"image": {"name": "a.png"}, "annorect": two},
        {"image": {"name": "b.png"}, "annorect": rect(point(12, 1))},
        {"image": {"name": "c.png"}, "annorect": empty},
    ]
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    savemat(path, {"RELEASE": {"annolist": np.array(annolist), "img_train": [1, 1, 0]}})
    write(folder, [])
    return path


def test_the_release_is_read_without_people_who_have_no_joints(tmp_path: Path):
    dataset = load_mpii(release(tmp_path), tmp_path)
    assert len(dataset) == 2
    assert dataset.keypoints[0, [0, 9, 6, 1]].tolist() == [
        [9, 19, 2],
        [18, 28, 1],
        [15, 25, 2],
        [0, 0, 0],
    ]
    assert dataset.keypoints[1, 12].tolist() == [21, 31, 2]
    assert dataset.head_sizes == pytest.approx([30, 30])
    assert CropGeometry.from_boxes(dataset.boxes).sides.tolist() == [125, 125]


def test_a_mat_file_of_something_else_is_refused(tmp_path: Path):
    savemat(tmp_path / "other.mat", {"x": 1})
    with pytest.raises(DatasetError, match=r"other\.mat: not MPII's release"):
        load_mpii(tmp_path / "other.mat", tmp_path)
    (tmp_path / "other.mat").write_bytes(b"nothing of the kind")
    with pytest.raises(DatasetError, match=r"other\.mat: not a readable MATLAB file"):
        load_mpii(tmp_path / "other.mat", tmp_path)
    with pytest.raises(DatasetError, match=r"none\.mat: no such annotation file"):
        load_mpii(tmp_path / "none.mat", tmp_path)


def test_the_format_goes_by_the_file_unless_it_is_given(tmp_path: Path):
    path = write(tmp_path, [PERSON])
    assert format_of(path) == "mpii"
    assert format_of("release.mat") == "mpii"
    coco = tmp_path / "coco.json"
    coco.write_text(' {"images": []}')
    assert format_of(coco) == "coco"
    assert format_of(coco, "mpii") == "mpii"
    assert load_annotated(path, tmp_path).keypoint_set is MPII16
    with pytest.raises(DatasetError, match="JSON object"):
        load_annotated(path, tmp_path, "coco")
    with pytest.raises(DatasetError, match="no such annotation file"):
        load_annotated(tmp_path / "none.json", tmp_path)
