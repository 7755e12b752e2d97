"""Matching detections to people, and the numbers made from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose.evaluation.detection import (
    LabelledPicture,
    evaluate_detector,
    match_boxes,
)
from farpose.geometry import box_iou

NOBODY = np.zeros((0, 4))
ANNA = [0.0, 0.0, 10.0, 20.0]
BERT = [50.0, 0.0, 90.0, 100.0]
FAR = [200.0, 200.0, 220.0, 240.0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (ANNA, ANNA, 1.0),
        (ANNA, BERT, 0.0),
        (ANNA, [0.0, 10.0, 10.0, 30.0], 1 / 3),  # half of each shared
        (ANNA, [10.0, 0.0, 20.0, 20.0], 0.0),  # touching
        (ANNA, [5.0, 5.0, 5.0, 5.0], 0.0),  # without area
    ],
)
def test_box_iou(a: list[float], b: list[float], expected: float) -> None:
    assert box_iou(np.array([a]), np.array([b])).item() == pytest.approx(expected)


def test_each_person_is_found_once_and_the_rest_are_duplicates() -> None:
    boxes = np.array([ANNA, ANNA, BERT])
    match = match_boxes(boxes, np.array([0.6, 0.9, 0.5]), np.array([ANNA, BERT]), NOBODY)
    assert match.found_at.tolist() == [0.9, 0.5]
    assert match.duplicates.tolist() == [0.6]
    assert match.false_scores.tolist() == []


def test_a_box_on_someone_unlisted_is_neither_found_nor_false() -> None:
    match = match_boxes(np.array([FAR]), np.array([0.9]), np.array([ANNA]), np.array([FAR]))
    assert match.found_at.tolist() == [-np.inf]
    assert match.false_scores.tolist() == []


def test_a_box_on_nobody_is_false() -> None:
    match = match_boxes(np.array([FAR]), np.array([0.9]), np.array([ANNA]), NOBODY)
    assert match.false_scores.tolist() == [0.9]


def test_a_box_takes_the_free_person_it_overlaps_most() -> None:
    near = [0.0, 2.0, 10.0, 22.0]
    match = match_boxes(
        np.array([near, ANNA]), np.array([0.9, 0.8]), np.array([ANNA, near]), NOBODY
    )
    assert match.found_at.tolist() == [0.8, 0.9]


def _report(pictures: int = 2):  # type: ignore[no-untyped-def]
    """Anna (20 px) found at 0.9, Bert (100 px) at 0.4, false boxes at 0.7 and 0.2, per picture."""

    def detect(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        assert size == 320
        assert image.shape == (300, 300, 3)
        boxes = np.array([BERT, FAR, ANNA, [100.0, 100.0, 110.0, 120.0]])
        return boxes, np.array([0.4, 0.7, 0.9, 0.2])

    picture = LabelledPicture(np.zeros((300, 300, 3), np.uint8), np.array([ANNA, BERT]), NOBODY)
    return evaluate_detector(detect, [picture] * pictures, 320)


def test_recall_and_false_boxes_at_a_threshold() -> None:
    report = _report()
    assert (report.recall(0.3), report.false_boxes(0.3)) == (1.0, 2)
    assert (report.recall(0.5), report.false_boxes(0.5)) == (0.5, 2)
    assert (report.recall(0.95), report.false_boxes(0.1)) == (0.0, 4)


def test_recall_by_height() -> None:
    report = _report()
    assert (report.found(0.5, 0, 96), report.people(0, 96)) == (2, 2)
    assert (report.found(0.5, 96), report.people(96)) == (0, 2)
    assert np.isnan(report.recall(0.5, 24, 48))


@pytest.mark.parametrize(
    ("allowed", "false", "recall"),
    [(0, 0, 0.5), (1, 0, 0.5), (2, 2, 1.0), (4, 4, 1.0), (99, 4, 1.0)],
)
def test_threshold_for_a_number_of_false_boxes(allowed: int, false: int, recall: float) -> None:
    report = _report()
    threshold = report.threshold_for(allowed)
    assert (report.false_boxes(threshold), report.recall(threshold)) == (false, recall)


def test_threshold_for_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        _report().threshold_for(-1)


def test_curve_is_per_picture() -> None:
    points = _report().curve([0.0, 1.0, 2.0])
    assert [point.recall for point in points] == [0.5, 1.0, 1.0]
    assert points[0].threshold > 0.7
    assert points[2].threshold == 0.0


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        evaluate_detector(lambda image, size: (NOBODY, np.zeros(0)), [], 320)


def test_a_detector_that_sees_nothing_finds_nobody() -> None:
    picture = LabelledPicture(np.zeros((9, 9, 3), np.uint8), np.array([ANNA]), NOBODY)
    report = evaluate_detector(lambda image, size: (NOBODY, np.zeros(0)), [picture], 320)
    assert (report.recall(0.0), report.false_boxes(0.0)) == (0.0, 0)


BOXES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20)).map(
        lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
    ),
    max_size=8,
)


@settings(deadline=None)
@given(boxes=BOXES, people=BOXES, others=BOXES, threshold=st.floats(0, 1), data=st.data())
def test_matching_at_a_threshold_is_a_prefix(boxes, people, others, threshold, data) -> None:  # type: ignore[no-untyped-def]
    """Dropping low-scored boxes first gives the same counts as thresholding the full match."""
    scores = np.array(
        data.draw(st.lists(st.floats(0, 1), min_size=len(boxes), max_size=len(boxes)))
    )
    full = match_boxes(np.array(boxes), scores, np.array(people), np.array(others))
    keep = scores >= threshold
    kept = np.array(boxes, float).reshape(-1, 4)[keep]
    part = match_boxes(kept, scores[keep], np.array(people), np.array(others))
    for name in ("found_at", "false_scores", "duplicates"):
        above = [s for s in getattr(full, name).tolist() if s >= threshold]
        assert above == [s for s in getattr(part, name).tolist() if s >= threshold]
    settled = int(np.isfinite(full.found_at).sum()) + len(full.false_scores) + len(full.duplicates)
    assert settled <= len(boxes)
