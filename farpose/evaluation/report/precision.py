"""OKS average precision of height bins and of draws, from matches that `pycocotools` makes once.

COCO's matching works picture by picture, so a draw of pictures has the same matches: only how
often each counts changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.oks import Predictions, coco_evaluation
from farpose.evaluation.report.bootstrap import Draws, Estimate

_RECALLS: Final = np.linspace(0, 1, 101)
"""Recalls that COCO averages the precision over."""

_MOST_PEOPLE: Final = 20
"""Predictions that count in a picture, as in COCO."""

_AT_A_TIME: Final = 2_000_000
"""Predictions times draws that are summed up at once, some 16 MB an array."""

_EPSILON: Final = float(np.spacing(1))


@dataclass(frozen=True)
class Matches:
    """Predictions and people of one range of heights, matched at `T` OKS thresholds."""

    pictures: NDArray[np.intp]
    """`[N]` the picture of each prediction, the highest score first."""

    right: NDArray[np.bool_]
    """`[T,N]` on a person of this range."""

    wrong: NDArray[np.bool_]
    """`[T,N]` on nobody; predictions on people outside of the range are neither."""

    people: NDArray[np.float64]
    """`[I]` people of this range in each picture."""

    def average_precision(self, draws: Draws) -> Estimate:
        """AP over the thresholds, on all pictures and in each draw."""
        ones = np.ones((1, len(self.people)))
        if not self.people.any():
            return Estimate(float("nan"), np.full(len(draws.counts), np.nan))
        step = max(1, _AT_A_TIME // max(1, len(self.pictures)))
        parts = range(0, len(draws.counts), step)
        samples = [self._precision(draws.counts[i : i + step]) for i in parts]
        return Estimate(float(self._precision(ones)[0]), np.concatenate(samples))

    def _precision(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[B]` AP where picture `i` counts `counts[b,i]` times."""
        weights = counts[:, self.pictures]
        people = counts @ self.people
        total = np.zeros(len(counts))
        for right, wrong in zip(self.right, self.wrong, strict=True):
            # Precision falls between right predictions, and is read where recall is reached:
            # only the places of right ones matter.
            places = np.flatnonzero(right)
            hits = np.cumsum(weights[:, places], axis=1)
            misses = np.cumsum(weights * wrong, axis=1)[:, places]
            precision = hits / (hits + misses + _EPSILON)
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            total += _at_recalls(hits, precision, people)
        scored = np.where(people > 0, people, np.nan)
        return np.asarray(total / len(self.right) * (scored / scored))


def _at_recalls(
    hits: NDArray[np.float64], precision: NDArray[np.float64], people: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`[B]` the mean precision where each of COCO's recalls is first reached, 0 where it is not."""
    places = hits.shape[1]
    padded = np.concatenate([precision, np.zeros((len(hits), 1))], axis=1)
    means = np.zeros(len(hits))
    for draw in np.flatnonzero(people):
        reached = np.searchsorted(hits[draw] / people[draw], _RECALLS, side="left")
        means[draw] = padded[draw, np.minimum(reached, places)].mean()
    return means


def match_by_height(
    truth: PoseDataset, predictions: Predictions, ranges: Sequence[tuple[float, float]]
) -> tuple[Matches, ...]:
    """The matches of every range of heights `low <= h < high`, in picture pixels.

    As COCO does for areas: people outside of the range are neither to be found nor missed, and a
    prediction that is on nobody is wrong if its own box is within the range.

    Args:
        truth: the people.
        predictions: in the same pictures.
        ranges: of box heights.

    Raises:
        ImportError: `pycocotools` is not installed (extra `evaluate`).
    """
    pictures = len(truth.pictures)
    if not len(predictions):
        return tuple(_nothing_found(truth, low, high) for low, high in ranges)
    evaluation = coco_evaluation(truth, predictions)
    # The similarities are computed; from here on its "area" is only compared with a range.
    for person, height in enumerate(truth.heights):
        evaluation.cocoGt.anns[person + 1]["area"] = float(height)
    heights = predictions.boxes[:, 3] - predictions.boxes[:, 1]
    for result in evaluation.cocoDt.anns.values():
        result["area"] = float(heights[result["id"] - 1])
    found = []
    for low, high in ranges:
        span = [low, np.nextafter(high, -np.inf)]
        images = [evaluation.evaluateImg(i, 1, span, _MOST_PEOPLE) for i in range(pictures)]
        found.append(_matches(images, pictures, len(evaluation.params.iouThrs)))
    return tuple(found)


def _matches(images: list[dict[str, Any] | None], pictures: int, thresholds: int) -> Matches:
    people = np.zeros(pictures)
    scores, places = [np.zeros(0)], [np.zeros(0, np.intp)]
    matched, ignored = [np.zeros((thresholds, 0))], [np.zeros((thresholds, 0), bool)]
    for index, image in enumerate(images):
        if image is None:
            continue
        people[index] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
        scores.append(np.asarray(image["dtScores"], np.float64))
        places.append(np.full(len(image["dtScores"]), index, np.intp))
        matched.append(image["dtMatches"])
        ignored.append(image["dtIgnore"].astype(bool))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    on_somebody = np.concatenate(matched, axis=1)[:, order] > 0
    counted = ~np.concatenate(ignored, axis=1)[:, order]
    # Those that count nowhere only cost time.
    kept = counted.any(axis=0)
    return Matches(
        pictures=np.concatenate(places)[order][kept],
        right=(on_somebody & counted)[:, kept],
        wrong=(~on_somebody & counted)[:, kept],
        people=people,
    )


def _nothing_found(truth: PoseDataset, low: float, high: float) -> Matches:
    inside = (truth.heights >= low) & (truth.heights < high)
    people = np.bincount(truth.picture_index[inside], minlength=len(truth.pictures))
    none = np.zeros((1, 0), bool)
    return Matches(np.zeros(0, np.intp), none, none, people.astype(np.float64))
