from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from farpose.cli import main
from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.mpii import load_mpii
from farpose.evaluation.pckh import correct_by_head, head_accuracy
from farpose.keypoints import COCO17, MPII16

HEADS = np.array([10.0, 20.0])


@pytest.fixture
def mpii(labelled: PoseDataset) -> PoseDataset:
    """Two people with heads of 10 and 20 pixels, all 16 joints labelled."""
    keypoints = np.zeros((2, 16, 3), np.float32)
    keypoints[..., :2] = 100 + 10 * np.arange(16)[:, None]
    keypoints[..., 2] = 2
    return replace(labelled, keypoint_set=MPII16, keypoints=keypoints, head_sizes=HEADS)


def moved(dataset: PoseDataset, joint: str, pixels: float, person: int = 0) -> np.ndarray:
    predicted = dataset.keypoints[..., :2].astype(np.float64)
    predicted[person, MPII16.index(joint), 0] += pixels
    return predicted


@pytest.mark.parametrize(
    ("pixels", "pckh_05", "pckh_01"),
    [
        (0.9, 28 / 28, 28 / 28),  # the head is 10 pixels
        (1.1, 28 / 28, 27 / 28),
        (4.9, 28 / 28, 27 / 28),
        (5.1, 27 / 28, 27 / 28),
        (np.inf, 27 / 28, 27 / 28),
    ],
)
def test_pckh_by_hand(mpii: PoseDataset, pixels: float, pckh_05: float, pckh_01: float):
    scores = head_accuracy(moved(mpii, "left_wrist", pixels), mpii)
    assert scores.pckh_05 == pytest.approx(pckh_05)
    assert scores.pckh_01 == pytest.approx(pckh_01)


def test_the_limit_is_of_the_person_s_own_head(mpii: PoseDataset):
    assert head_accuracy(moved(mpii, "left_wrist", 9.9, person=1), mpii).pckh_05 == 1
    assert head_accuracy(moved(mpii, "left_wrist", 9.9, person=0), mpii).pckh_05 < 1


@pytest.mark.parametrize("joint", ["pelvis", "thorax"])
def test_pelvis_and_thorax_do_not_count(mpii: PoseDataset, joint: str):
    assert head_accuracy(moved(mpii, joint, 500), mpii).pckh_05 == 1
    assert np.isnan(correct_by_head(mpii.keypoints, mpii, 0.5)[:, MPII16.index(joint)]).all()


def test_the_mean_is_weighted_by_visible_joints(mpii: PoseDataset):
    keypoints = mpii.keypoints.copy()
    wrist, ankle = MPII16.index("left_wrist"), MPII16.index("left_ankle")
    keypoints[:, :, 2] = 0
    keypoints[:, wrist, 2] = keypoints[0, ankle, 2] = 2
    few = replace(mpii, keypoints=keypoints)
    scores = head_accuracy(moved(few, "left_ankle", 500), few)
    assert scores.pckh_05 == pytest.approx(2 / 3)  # two wrists right, one ankle wrong
    assert (scores.parts["wrist"], scores.parts["ankle"]) == (1, 0)
    assert np.isnan(scores.parts["knee"])


def test_parts_are_the_mean_of_left_and_right(mpii: PoseDataset):
    parts = head_accuracy(moved(mpii, "left_wrist", 500), mpii).parts
    assert parts["wrist"] == pytest.approx(3 / 4)
    assert {parts[p] for p in ("head", "shoulder", "elbow", "hip", "knee", "ankle")} == {1}


def test_people_without_a_known_head_do_not_count(mpii: PoseDataset):
    one = replace(mpii, head_sizes=np.array([np.nan, 20.0]))
    assert head_accuracy(moved(one, "left_wrist", 500), one).pckh_05 == 1
    with pytest.raises(ValueError, match="needs head sizes"):
        head_accuracy(mpii.keypoints, replace(mpii, head_sizes=None))


def test_head_sizes_stay_with_their_people(mpii: PoseDataset):
    assert mpii.select(np.array([1])).head_sizes == pytest.approx([20])
    assert mpii.converted(COCO17).head_sizes == pytest.approx([10, 20])


def reference(predicted: np.ndarray, truth: dict[str, np.ndarray], threshold: float) -> float:
    """The evaluation as HRNet's authors define it, in MPII's own units: from 1, percent."""
    heads = truth["headboxes_src"][1] - truth["headboxes_src"][0]
    sizes = 0.6 * np.linalg.norm(heads, axis=0)
    visible = 1 - truth["jnt_missing"]
    errors = np.linalg.norm(predicted + 1 - truth["pos_gt_src"], axis=1) / sizes
    correct = ((errors <= threshold) * visible).sum(axis=1)
    counts = visible.sum(axis=1)
    counted = np.array([j not in (6, 7) for j in range(16)])
    shares = (100 * correct / counts)[counted]
    return float((shares * counts[counted] / counts[counted].sum()).sum())


def test_pckh_of_files_is_that_of_the_reference(tmp_path: Path, labelled: PoseDataset):
    rng = np.random.default_rng(0)
    count = 40
    joints = rng.uniform(60, 200, (count, 16, 2))
    truth = {
        "headboxes_src": np.stack([np.zeros((2, count)), rng.uniform(10, 40, (2, count))]),
        "jnt_missing": (rng.random((16, count)) < 0.2).astype(float),
        "pos_gt_src": joints.transpose(1, 2, 0),
    }
    person = {"image": labelled.pictures[0].path.name, "center": [100, 100], "scale": 1.0}
    people = [person | {"joints": j.tolist(), "joints_vis": [1] * 16} for j in joints]
    (tmp_path / "valid.json").write_text(json.dumps(people))
    savemat(tmp_path / "gt_valid.mat", truth)
    dataset = load_mpii(tmp_path / "valid.json", labelled.pictures[0].path.parent)

    predicted = joints - 1 + rng.normal(0, 6, joints.shape)
    scores = head_accuracy(predicted, dataset)
    for found, threshold in ((scores.pckh_05, 0.5), (scores.pckh_01, 0.1)):
        expected = reference(predicted.transpose(1, 2, 0), truth, threshold)
        assert 0 < expected < 100
        assert 100 * found == pytest.approx(expected, abs=1e-6)


def test_evaluate_prints_pckh_of_an_mpii_file(
    tmp_path: Path,
    labelled: PoseDataset,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    joints = np.stack([np.arange(100, 116), np.arange(90, 106)], axis=1)
    person = {"image": "0.png", "center": [130, 150], "scale": 0.6, "joints": joints.tolist()}
    (tmp_path / "valid.json").write_text(json.dumps([person | {"joints_vis": [1] * 16}]))
    truth = {
        "headboxes_src": np.array([[[0.0], [0.0]], [[600.0], [800.0]]]),
        "jnt_missing": np.zeros((16, 1)),
        "pos_gt_src": joints[..., None].astype(float),
    }
    arguments = [str(repository / "lowres_pose"), "--annotations", str(tmp_path / "valid.json")]
    arguments += ["--images", str(tmp_path), "--json"]
    monkeypatch.setattr("sys.argv", ["farpose", "evaluate", *arguments])
    with pytest.raises(SystemExit):
        main()
    out = capsys.readouterr().out
    assert "no PCKh: the head sizes are in" in out and "gt_valid.mat" in out
    assert "PCKh@0.5" not in out

    # The head is 600 pixels: half of it holds whatever the model answers for this crop.
    savemat(tmp_path / "gt_valid.mat", truth)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    out = capsys.readouterr().out
    assert "PCKh@0.5  head" in out
    content = json.loads(out.splitlines()[-1])
    assert content["PCKh@0.5"] == 1.0
    assert content["PCKh@0.5_parts"]["wrist"] == 1.0
    assert content["PCKh@0.5_parts"]["head"] is None  # the model is a COCO one


def test_a_detector_is_not_scored_on_mpii(
    tmp_path: Path,
    labelled: PoseDataset,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    person = {"image": "0.png", "center": [130, 150], "scale": 0.6, "joints": [[9, 9]] * 16}
    (tmp_path / "valid.json").write_text(json.dumps([person | {"joints_vis": [1] * 16}]))
    arguments = [str(repository / "person_detector"), "--images", str(tmp_path)]
    arguments += ["--annotations", str(tmp_path / "valid.json")]
    monkeypatch.setattr("sys.argv", ["farpose", "evaluate", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "MPII, which has no boxes" in capsys.readouterr().err
