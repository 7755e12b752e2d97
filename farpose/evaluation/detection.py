"""How many people a detector finds, by their height, and at what price in false boxes.

Every prediction is matched once, in order of its score; all numbers at any score threshold are
then counts. People listed in the truth are to be found. Boxes on *other* plausible people (a
crowd nobody labelled) are neither found nor false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from farpose.geometry import box_iou

Detect = Callable[[NDArray[np.uint8], int], tuple[NDArray[np.floating], NDArray[np.floating]]]
"""(picture UINT8 `[H,W,3]` RGB, detector size) -> boxes `[K,4]` xyxy in picture pixels and scores
`[K]`, in any order."""

MATCH_IOU = 0.5
"""A box is on a person if their intersection over union is at least this."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture of a detection test.

    Attributes:
        image: UINT8 `[H,W,3]` RGB.
        people: `[P,4]` truth, xyxy in picture pixels.
        others: `[Q,4]` people the truth does not list, xyxy; boxes there are never false.
    """

    image: NDArray[np.uint8]
    people: NDArray[np.floating]
    others: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """Matched predictions of one detector at one size over a set of pictures.

    Attributes:
        heights: `[P]`, height of every person in picture pixels.
        found_at: `[P]`, score of the box that found the person; -inf where none did.
        false_scores: `[F]`, scores of the boxes on nobody, descending.
        duplicates: `[D]`, scores of further boxes on a person already found, descending.
        pictures: number of pictures.
    """

    heights: NDArray[np.float64]
    found_at: NDArray[np.float64]
    false_scores: NDArray[np.float64]
    duplicates: NDArray[np.float64]
    pictures: int

    def found(self, threshold: float, low: float = 0.0, high: float = np.inf) -> int:
        """People of height `low <= h < high` pixels found at a score threshold."""
        return int(np.sum((self.found_at >= threshold) & self._within(low, high)))

    def people(self, low: float = 0.0, high: float = np.inf) -> int:
        """People of height `low <= h < high` pixels in the truth."""
        return int(np.sum(self._within(low, high)))

    def recall(self, threshold: float, low: float = 0.0, high: float = np.inf) -> float:
        """Found share of the people of that height; NaN if there are none."""
        people = self.people(low, high)
        return self.found(threshold, low, high) / people if people else float("nan")

    def false_boxes(self, threshold: float) -> int:
        """Boxes on nobody at a score threshold, over all pictures."""
        return int(np.sum(self.false_scores >= threshold))

    def duplicate_boxes(self, threshold: float) -> int:
        """Second and further boxes on a person at a score threshold, over all pictures."""
        return int(np.sum(self.duplicates >= threshold))

    def threshold_for(self, false_boxes: int) -> float:
        """The lowest score threshold that lets at most so many false boxes through.

        It is just above the score of the first false box too many, and 0 if there is none.
        """
        if false_boxes < 0:
            raise ValueError(f"a number of false boxes is not negative, but {false_boxes} is")
        if false_boxes >= len(self.false_scores):
            return 0.0
        return float(np.nextafter(self.false_scores[false_boxes], np.inf))

    def curve(self, false_boxes_per_picture: Sequence[float]) -> list[CurvePoint]:
        """Threshold and recall at the given prices in false boxes."""
        points = []
        for price in false_boxes_per_picture:
            threshold = self.threshold_for(int(np.floor(price * self.pictures + 1e-9)))
            points.append(CurvePoint(price, threshold, self.recall(threshold)))
        return points

    def _within(self, low: float, high: float) -> NDArray[np.bool_]:
        return (self.heights >= low) & (self.heights < high)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Recall of a detector at the threshold that costs so many false boxes per picture."""

    false_boxes_per_picture: float
    threshold: float
    recall: float


def evaluate_detector(
    detect: Detect, pictures: Iterable[LabelledPicture], size: int
) -> DetectionReport:
    """Run `detect` at input size `size` over `pictures` and match its boxes.

    Args:
        detect: the detector, its score floor well below the thresholds of interest.
        pictures: read once; a generator is fine.
        size: longer side of the detector input in pixels, handed to `detect`.
    """
    heights, found_at, false, duplicates = [], [], [], []
    count = 0
    for picture in pictures:
        boxes, scores = detect(picture.image, size)
        match = match_boxes(boxes, scores, picture.people, picture.others)
        people = np.asarray(picture.people, dtype=np.float64).reshape(-1, 4)
        heights.append(people[:, 3] - people[:, 1])
        found_at.append(match.found_at)
        false.append(match.false_scores)
        duplicates.append(match.duplicates)
        count += 1
    if count == 0:
        raise ValueError("there are no pictures to evaluate the detector on")
    return DetectionReport(
        heights=np.concatenate(heights),
        found_at=np.concatenate(found_at),
        false_scores=-np.sort(-np.concatenate(false)),
        duplicates=-np.sort(-np.concatenate(duplicates)),
        pictures=count,
    )


@dataclass(frozen=True, slots=True)
class PictureMatch:
    """What became of one picture's predictions; the fields are those of `DetectionReport`."""

    found_at: NDArray[np.float64]
    false_scores: NDArray[np.float64]
    duplicates: NDArray[np.float64]


def match_boxes(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    people: NDArray[np.floating],
    others: NDArray[np.floating],
    iou_threshold: float = MATCH_IOU,
) -> PictureMatch:
    """Match predictions to people, one to one, the highest score first.

    A box takes the person it overlaps most among those still free. With no free person at
    `iou_threshold` it is a duplicate on a person already found, or ignored on one of `others`,
    or else false. The match at a threshold is a prefix of the match at a lower one.
    """
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    overlap = box_iou(boxes, people)
    on_others = box_iou(boxes, others).max(axis=1, initial=0.0) >= iou_threshold
    found_at = np.full(overlap.shape[1], -np.inf)
    false, duplicates = [], []
    for index in np.argsort(-scores, kind="stable"):
        free = np.where(np.isneginf(found_at), overlap[index], -1.0)
        if free.max(initial=-1.0) >= iou_threshold:
            found_at[int(free.argmax())] = scores[index]
        elif overlap[index].max(initial=0.0) >= iou_threshold:
            duplicates.append(scores[index])
        elif not on_others[index]:
            false.append(scores[index])
    return PictureMatch(found_at, np.array(false), np.array(duplicates))
