from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.reliability import Reliability, reliability
from farpose.evaluation.reliability_plot import PlotError, check_plot, plot_reliability
from farpose.evaluation.tables import reliability_json, reliability_text

# Person 0 of `labelled` has a torso of 50 pixels and a box of 120, person 1 half of both.
JOINTS = 17


def measure(
    truth: PoseDataset,
    errors: np.ndarray,
    scores: np.ndarray | float = 0.5,
    spreads: np.ndarray | float = 1.0,
) -> Reliability:
    """Of predictions that are `errors` `[P,J]` pixels too far right."""
    predicted = truth.keypoints.copy()
    predicted[..., 0] += errors
    predicted[..., 2] = scores
    spreads = np.broadcast_to(spreads, predicted.shape[:2])
    variances = spreads[..., None] ** 2 * np.array([0.36, 0.64])
    return reliability(predicted, variances.astype(np.float32), truth)


def test_the_order_alone_counts(labelled: PoseDataset):
    person = labelled.select([0])
    errors = np.arange(1.0, 18)[None]
    same = measure(person, errors, scores=1 / errors, spreads=errors**3)
    assert (same.spread_pixels, same.spread_relative) == pytest.approx((1, 1))
    assert (same.doubt_pixels, same.doubt_relative) == pytest.approx((1, 1))
    opposite = measure(person, errors, scores=errors / 17, spreads=1 / errors)
    assert (opposite.spread_pixels, opposite.doubt_pixels) == pytest.approx((-1, -1))


def test_a_correlation_by_hand(labelled: PoseDataset):
    person = labelled.select([0])
    person.keypoints[0, 4:, 2] = 0
    # Ranks 1 2 3 4 against 2 1 4 3: squared differences of 1 each, 1 - 6 * 4 / (4 * 15).
    errors, spreads = np.zeros((1, JOINTS)), np.ones((1, JOINTS))
    errors[0, :4], spreads[0, :4] = [3, 5, 7, 9], [2.5, 2.0, 6.0, 3.0]
    found = measure(person, errors, spreads=spreads)
    assert found.joints == 4
    assert found.spread_pixels == pytest.approx(0.6)


def test_what_only_follows_the_size_of_people_is_no_relative_correlation(labelled: PoseDataset):
    # Alike in shares of the box; larger in pixels for the larger person, who comes first.
    labelled.keypoints[:, 8:, 2] = 0
    errors, spreads = np.ones((1, JOINTS)), np.ones((1, JOINTS))
    errors[0, :8] = [1, 2, 3, 4, 1, 2, 3, 4]
    spreads[0, :8] = [3, 1, 4, 2, 2, 4, 1, 3]  # ranks 2 4 1 3 and the opposite: no relation
    sizes = np.array([[2.0], [1.0]])
    found = measure(labelled, errors * sizes, spreads=spreads * sizes)
    assert found.spread_relative == pytest.approx(0, abs=1e-9)
    assert found.spread_pixels > 0.2


def test_nothing_correlates_with_what_is_all_alike(labelled: PoseDataset):
    found = measure(labelled, np.arange(34.0).reshape(2, 17))
    assert np.isnan([found.spread_pixels, found.doubt_pixels, found.doubt_relative]).all()
    # One spread in pixels for all is not one in boxes: the smaller person's is larger.
    assert np.isfinite(found.spread_relative)


def test_bins_hold_equally_many_joints_in_the_order_of_the_score(labelled: PoseDataset):
    scores = np.linspace(0.98, 0.32, 34).reshape(2, 17)
    found = measure(labelled, np.zeros((2, JOINTS)), scores=scores)
    assert [b.joints for b in found.score_bins] == [4, 4, 4, 4, 3, 3, 3, 3, 3, 3]
    assert found.score_bins[0].score == pytest.approx(0.35)  # 0.32, 0.34, 0.36, 0.38
    assert found.score_bins[-1].score == pytest.approx(0.96)  # 0.94, 0.96, 0.98
    assert [b.correct for b in found.score_bins] == [1] * 10


def test_a_joint_is_right_within_a_fifth_of_the_torso(labelled: PoseDataset):
    person = labelled.select([0])
    errors = np.where(np.arange(JOINTS) < 10, 9.5, 10.5)[None]
    scores = np.where(np.arange(JOINTS) < 10, 0.9, 0.1)[None]
    found = measure(person, errors, scores=scores)
    assert [b.joints for b in found.score_bins] == [2] * 7 + [1] * 3
    assert [b.correct for b in found.score_bins] == [0, 0, 0, 0.5, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("pixels", "correct"), [(7.9, 1.0), (8.1, 0.0)])
def test_without_a_torso_a_third_of_the_box_stands_for_it(
    labelled: PoseDataset, pixels: float, correct: float
):
    person = labelled.select([0])
    person.keypoints[0, person.keypoint_set.index("right_hip"), 2] = 0
    found = measure(person, np.full((1, JOINTS), pixels))  # a fifth of 120 / 3 is 8
    assert found.joints == 16
    assert {b.correct for b in found.score_bins} == {correct}


def test_bins_of_spreads_are_in_sides_of_the_box(labelled: PoseDataset):
    person = labelled.select([0])
    person.keypoints[0, 15:, 2] = 0
    errors, spreads = np.zeros((1, JOINTS)), np.full((1, JOINTS), 12.0)
    errors[0, 10:15] = [12, 24, 36, 48, 60]
    spreads[0, 10:15] = 24
    found = measure(person, errors, spreads=spreads)
    assert [b.spread for b in found.spread_bins] == pytest.approx([0.1] * 5 + [0.2] * 5)
    assert [b.error for b in found.spread_bins[:5]] == [0] * 5
    last = found.spread_bins[5:]
    assert [b.joints for b in last] == [1] * 5
    assert [b.error for b in last] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert last[-1].quartiles == pytest.approx((0.5, 0.5))


def test_people_who_were_not_found_and_unlabelled_joints_are_left_out(labelled: PoseDataset):
    labelled.keypoints[0, :5, 2] = 0
    errors = np.zeros((2, JOINTS))
    errors[1] = np.inf
    found = measure(labelled, errors, scores=np.where(np.isinf(errors), np.inf, 0.5))
    assert found.joints == 12
    assert sum(b.joints for b in found.score_bins) == 12


def test_nobody_found_is_a_report_without_bins(labelled: PoseDataset, tmp_path: Path):
    found = measure(labelled, np.full((2, JOINTS), np.inf))
    assert found.joints == 0
    assert reliability_json(found)["spearman"]["doubt_pixels"] is None
    assert "1 - score" in reliability_text(found)
    with pytest.raises(PlotError, match="no labelled joint of anybody"):
        plot_reliability(found, tmp_path / "plot.png")


def test_the_tables_hold_the_numbers(labelled: PoseDataset):
    person = labelled.select([0])
    errors = np.where(np.arange(JOINTS) < 10, 9.5, 10.5)[None]
    scores = np.linspace(0.9, 0.1, JOINTS)[None]
    found = measure(person, errors, scores=scores)
    content = reliability_json(found)
    assert content["joints"] == 17
    assert content["spearman"]["spread_pixels"] is None
    assert content["score_bins"][0] == {"score": 0.125, "PCK@0.2": 0.0, "joints": 2}
    text = reliability_text(found)
    assert "0.125    0.000       2" in text


@pytest.mark.parametrize("people", [1, 2])
def test_the_plot_is_a_picture(labelled: PoseDataset, tmp_path: Path, people: int):
    some = labelled.select(np.arange(people))
    some.keypoints[:, 3 * people :, 2] = 0  # 3 and 12 joints: fewer than ten, and more
    path = tmp_path / "plot.png"
    rng = np.random.default_rng(0)
    shape = (people, JOINTS)
    found = measure(some, rng.uniform(0, 20, shape), rng.random(shape), rng.uniform(1, 9, shape))
    check_plot(path)
    plot_reliability(found, path)
    picture = cv2.imread(str(path))
    assert picture.shape == (630, 1350, 3)
    assert picture.std() > 10


def test_a_plot_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(PlotError, match=r"plot\.jpeg: a plot's name ends in \.png"):
        check_plot(tmp_path / "plot.jpeg")
    with pytest.raises(PlotError, match="no such folder"):
        check_plot(tmp_path / "nowhere/plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError):
        check_plot(tmp_path / "plot.png")


def test_people_of_another_order_have_the_same_numbers(labelled: PoseDataset):
    rng = np.random.default_rng(1)
    errors, scores, spreads = rng.uniform(0, 20, (3, 2, JOINTS))
    one = measure(labelled, errors, scores / 20, spreads)
    turned = measure(labelled.select([1, 0]), errors[::-1], scores[::-1] / 20, spreads[::-1])
    assert reliability_json(turned) == reliability_json(one)
