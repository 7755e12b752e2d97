from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.ignored import Ignored
from farpose.evaluation.oks import Predictions, average_precision
from farpose.evaluation.report.bootstrap import Draws
from farpose.evaluation.report.precision import match_by_height

Repeat = Callable[[PoseDataset, int], PoseDataset]

ALL = (0.0, np.inf)


def crowded(labelled: PoseDataset, repeat: Repeat) -> PoseDataset:
    """24 people in four pictures."""
    many = repeat(labelled, 12)
    return replace(many, pictures=many.pictures[:4], picture_index=np.sort(many.picture_index % 4))


def guessed(truth: PoseDataset, seed: int) -> Predictions:
    """Joints off by more for some people, some people twice, some missed, and some of nobody."""
    rng = np.random.default_rng(seed)
    people = np.concatenate([np.arange(len(truth)), rng.integers(0, len(truth), 8)])
    people = people[rng.random(len(people)) > 0.15]
    keypoints = truth.keypoints[people].astype(np.float64)
    spread = rng.exponential(0.06, len(people)) * truth.heights[people]
    keypoints[..., :2] += rng.normal(0, 1, keypoints[..., :2].shape) * spread[:, None, None]
    keypoints[: len(people) // 6, :, :2] += 500
    keypoints[..., 2] = rng.uniform(0.1, 1, (len(people), 1))
    index = truth.picture_index[people]
    return Predictions(index, truth.boxes[people], rng.random(len(people)), keypoints)


@pytest.mark.parametrize("seed", range(4))
def test_the_precision_of_everybody_is_that_of_pycocotools(
    labelled: PoseDataset, repeat: Repeat, seed: int
):
    truth = crowded(labelled, repeat)
    predictions = guessed(truth, seed)
    (matches,) = match_by_height(truth, predictions, [ALL])
    draws = Draws.of(4, np.arange(4), seed=0, resamples=2)
    expected = average_precision(truth, predictions).ap
    assert 0.05 < expected < 0.95
    assert matches.average_precision(draws).value == pytest.approx(expected, abs=1e-12)


def test_predictions_on_a_crowd_are_not_wrong(labelled: PoseDataset, repeat: Repeat):
    truth = crowded(labelled, repeat)
    predictions = guessed(truth, 1)
    around_the_false = np.tile([590.0, 580, 740, 720], (4, 1))
    crowds = Ignored(np.arange(4), around_the_false, np.full(4, 9000.0), np.ones(4, bool))
    with_crowds = replace(truth, ignored=crowds)
    expected = average_precision(with_crowds, predictions).ap
    assert expected > average_precision(truth, predictions).ap + 0.01
    (matches,) = match_by_height(with_crowds, predictions, [ALL])
    draws = Draws.of(4, np.arange(4), seed=0, resamples=2)
    assert matches.average_precision(draws).value == pytest.approx(expected, abs=1e-12)


def test_a_draw_has_the_precision_of_a_dataset_with_these_pictures(
    labelled: PoseDataset, repeat: Repeat
):
    truth = crowded(labelled, repeat)
    predictions = guessed(truth, 1)
    draws = Draws.of(4, np.arange(4), seed=3, resamples=12)
    (matches,) = match_by_height(truth, predictions, [ALL])
    samples = matches.average_precision(draws).samples
    for counts, sample in zip(draws.counts.astype(int), samples, strict=True):
        drawn = np.repeat(np.arange(4), counts)
        people = [np.flatnonzero(truth.picture_index == i) for i in drawn]
        found = [np.flatnonzero(predictions.picture_index == i) for i in drawn]
        chosen = np.concatenate(found)
        again = replace(
            truth.select(np.concatenate(people)),
            pictures=tuple(truth.pictures[i] for i in drawn),
            picture_index=np.repeat(np.arange(len(drawn)), [len(p) for p in people]),
        )
        repeated = Predictions(
            np.repeat(np.arange(len(drawn)), [len(f) for f in found]),
            predictions.boxes[chosen],
            predictions.scores[chosen],
            predictions.keypoints[chosen],
        )
        assert sample == pytest.approx(average_precision(again, repeated).ap, abs=1e-9)


def test_draws_can_be_summed_up_in_parts(
    labelled: PoseDataset, repeat: Repeat, monkeypatch: pytest.MonkeyPatch
):
    truth = crowded(labelled, repeat)
    (matches,) = match_by_height(truth, guessed(truth, 2), [ALL])
    draws = Draws.of(4, np.arange(4), seed=3, resamples=50)
    whole = matches.average_precision(draws)
    monkeypatch.setattr("farpose.evaluation.report.precision._AT_A_TIME", 150)
    assert np.array_equal(matches.average_precision(draws).samples, whole.samples)
    assert len(set(whole.samples)) > 10


def test_every_bin_judges_its_own_people(labelled: PoseDataset, repeat: Repeat):
    # Perfect for those of 60 px; those of 120 px are half a picture off.
    truth = repeat(labelled, 6)
    keypoints = truth.keypoints.astype(np.float64)
    keypoints[truth.heights > 100, :, 0] += 160
    keypoints[..., 2] = 1
    predictions = Predictions(truth.picture_index, truth.boxes, np.ones(12), keypoints)
    ranges = [(48.0, 96.0), (96.0, 192.0), (192.0, np.inf)]
    draws = Draws.of(12, np.arange(12), seed=0, resamples=50)
    small, tall, nobody = (
        m.average_precision(draws) for m in match_by_height(truth, predictions, ranges)
    )
    assert small.value == pytest.approx(1)
    assert small.interval == pytest.approx((1, 1))
    assert tall.value == 0
    assert np.isnan(nobody.value)


def test_heights_at_an_edge_belong_to_the_upper_bin(labelled: PoseDataset, repeat: Repeat):
    truth = repeat(labelled, 1)
    keypoints = truth.keypoints.copy()
    keypoints[..., 2] = 1
    predictions = Predictions(truth.picture_index, truth.boxes, np.ones(2), keypoints)
    lower, upper = match_by_height(truth, predictions, [(0.0, 60.0), (60.0, 120.0)])
    assert lower.people.sum() == 0
    assert upper.people.tolist() == [0, 1]
    assert upper.right.sum(axis=1).tolist() == [1] * 10


def test_nobody_found_is_no_precision(labelled: PoseDataset):
    empty = Predictions(np.zeros(0, np.intp), np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 3)))
    matches, nobody = match_by_height(labelled, empty, [ALL, (0.0, 12.0)])
    draws = Draws.of(2, np.arange(2), seed=0, resamples=5)
    assert matches.average_precision(draws).value == 0
    assert matches.average_precision(draws).interval == (0, 0)
    assert np.isnan(nobody.average_precision(draws).value)
