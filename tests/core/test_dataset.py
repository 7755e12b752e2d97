from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.evaluation.pck import correct_joints, pck, torso_lengths
from farpose.keypoints import COCO17, LSP14


def content() -> dict:
    """Two pictures: one with a labelled person, a crowd and an unlabelled one; one with nobody."""
    flat = [value for j in range(14) for value in (10.0 + j, 20.0 + 2 * j, 2)]
    person = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [8, 18, 20, 40], "area": 424.0}
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 64, "height": 80},
            {"id": 2, "file_name": "b.png", "width": 64, "height": 80},
        ],
        "annotations": [
            person | {"keypoints": flat},
            person | {"id": 6, "keypoints": flat, "iscrowd": 1},
            person | {"id": 7, "keypoints": [0] * 42},
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(LSP14.joints)}],
    }


def write(folder: Path, annotations: object) -> Path:
    cv2.imwrite(str(folder / "a.png"), np.zeros((80, 64, 3), np.uint8))
    path = folder / "labels.json"
    path.write_text(annotations if isinstance(annotations, str) else json.dumps(annotations))
    return path


def test_only_labelled_people_are_read(tmp_path: Path):
    dataset = load_dataset(write(tmp_path, content()), tmp_path)
    assert dataset.keypoint_set is LSP14
    assert dataset.ids.tolist() == [5]
    assert dataset.boxes.tolist() == [[8, 18, 28, 58]]
    assert dataset.heights.tolist() == [40]
    assert dataset.pictures[0].read().shape == (80, 64, 3)


def test_crowds_and_unlabelled_people_are_kept_apart_to_be_ignored(tmp_path: Path):
    labels = content()
    labels["annotations"][1] |= {"bbox": [1, 2, 30, 40], "area": 300.5, "image_id": 2}
    elsewhere = labels["annotations"][2] | {"image_id": 99}
    flat = labels["annotations"][0] | {"bbox": [8, 18, 0, 40]}  # a person, but none to crop
    labels["annotations"] += [elsewhere, flat]
    dataset = load_dataset(write(tmp_path, labels), tmp_path)
    assert dataset.ids.tolist() == [5]
    assert dataset.ignored.picture_index.tolist() == [1, 0]
    assert dataset.ignored.boxes.tolist() == [[1, 2, 31, 42], [8, 18, 28, 58]]
    assert dataset.ignored.areas.tolist() == [300.5, 424]
    assert dataset.ignored.crowds.tolist() == [True, False]


def test_what_is_ignored_goes_with_its_picture(tmp_path: Path):
    labels = content()
    labels["annotations"][1]["image_id"] = 2
    ignored = load_dataset(write(tmp_path, labels), tmp_path).ignored
    again = ignored.in_pictures(np.array([1, 0, 1]))
    assert again.picture_index.tolist() == [0, 1, 2]
    assert again.crowds.tolist() == [True, False, True]
    assert len(ignored.in_pictures(np.zeros(0, np.intp))) == 0


def test_joints_another_set_lacks_become_unlabelled(tmp_path: Path):
    dataset = load_dataset(write(tmp_path, content()), tmp_path).converted(COCO17)
    assert dataset.keypoints[0, COCO17.index("nose"), 2] == 0
    assert dataset.keypoints[0, COCO17.index("left_wrist")].tolist() == [21, 42, 2]


def changed(**changes: object) -> dict:
    return content() | changes


def short_person() -> dict:
    broken = content()
    broken["annotations"][0]["keypoints"] = [1, 2, 2] * 13
    return broken


def shuffled_joints() -> list[dict]:
    return [{"id": 1, "keypoints": sorted(LSP14.joints)}]


def unlabelled() -> list[dict]:
    return [content()["annotations"][0] | {"keypoints": [1, 2, 0] * 14}]


def without(field: str) -> dict:
    broken = content()
    del broken["annotations"][0][field]
    return broken


def unreal(field: str, place: int, value: object) -> dict:
    broken = content()
    person = broken["annotations"][0]
    if field == "area":
        person[field] = value
    else:
        person[field] = list(person[field])
        person[field][place] = value
    return broken


def unknown_picture() -> dict:
    broken = content()
    broken["annotations"][0]["image_id"] = 99
    return broken


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("{", "not JSON"),
        ([], "JSON object"),
        (changed(categories=[{"id": 1}]), "no category has `keypoints`"),
        (changed(categories=[{"id": 1, "keypoints": ["tail"]}]), "no known keypoint set"),
        (
            changed(categories=shuffled_joints()),
            "has the joints of lsp14 in another order; reorder them.* to right_ankle, right_knee",
        ),
        (changed(annotations=[{"id": 1}]), "the field 'category_id' is missing"),
        (changed(images=3), "not a COCO-style keypoint file"),
        (without("keypoints"), "the field 'keypoints' is missing"),
        (changed(annotations=[]), "no person has a labelled joint"),
        (changed(annotations=unlabelled()), "third number of a joint must be 1 or 2"),
        (short_person(), "annotation 5 has 39 numbers in `keypoints`; the 14 joints .* need 42"),
        (unknown_picture(), "image 99, which is not listed"),
        (unreal("keypoints", 4, float("nan")), "annotation 5 has something in `keypoints` that is"),
        (unreal("keypoints", 0, float("inf")), "annotation 5 .* `keypoints` that is no finite num"),
        (unreal("keypoints", 1, None), "annotation 5 has something in `keypoints`"),
        (unreal("bbox", 0, float("-inf")), "annotation 5 has something in `bbox` that is no finit"),
        (unreal("bbox", 3, float("nan")), "annotation 5 has something in `bbox` that is no finite"),
        (unreal("area", 0, float("nan")), "annotation 5 has something in `area` that is no finite"),
        (
            changed(annotations=[content()["annotations"][0] | {"bbox": [8, 18, 20]}]),
            "annotation 5 has 3 numbers in `bbox`; x, y, width and height",
        ),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, annotations: object, message: str):
    with pytest.raises(DatasetError, match=message) as refused:
        load_dataset(write(tmp_path, annotations), tmp_path)
    assert "labels.json" in str(refused.value)


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="no such annotation file"):
        load_dataset(tmp_path / "none.json", tmp_path)
    path = write(tmp_path, content())
    with pytest.raises(DatasetError, match=r"a\.png for one: is the picture folder right"):
        load_dataset(path, tmp_path / "elsewhere")
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.png: not a readable picture"):
        load_dataset(path, tmp_path).pictures[0].read()


def truth() -> np.ndarray:
    people = np.zeros((2, 17, 3), np.float32)
    people[:, COCO17.index("left_shoulder")] = [0, 0, 2]
    people[:, COCO17.index("right_hip")] = [30, 40, 2]  # a torso of 50 pixels
    people[:, COCO17.index("left_knee")] = [30, 80, 2]
    people[1, COCO17.index("right_hip"), 2] = 0  # the second person has no torso
    return people


def test_pck_counts_visible_joints_of_people_with_a_torso():
    predicted = truth()[:, :, :2].copy()
    predicted[0, COCO17.index("left_knee")] += [0, 10.1]  # just outside a fifth of 50
    predicted[0, COCO17.index("right_hip")] += [6, 8]  # just inside
    correct = correct_joints(predicted, truth(), COCO17)
    assert torso_lengths(truth(), COCO17)[0] == 50
    assert np.isfinite(correct).sum() == 3
    assert pck(correct) == pytest.approx(2 / 3)
    assert np.isnan(pck(correct[1:]))
