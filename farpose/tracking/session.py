"""The session of one camera."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from farpose.geometry import BoxError, box_iou
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PoseResult
from farpose.tracking.identities import Identities
from farpose.tracking.motion import at_border, inside, moved_boxes
from farpose.tracking.smoothing import Smoothing

Picture = TypeVar("Picture", bound=bytes | NDArray[np.uint8])
"""Encoded, or `[H,W,3]` RGB."""

Find = Callable[[Picture, PoseOptions], Awaitable[PoseResult]]
"""Answers a picture, as `PosePipeline` does."""

WEAKER: Final = 0.6
"""People whose joints score less than this share of what they did when detected may be lost."""

SAME_PLACE: Final = 0.7
"""Two people whose boxes overlap more (IoU) may be one."""

LEAST_STAY: Final = 0.3
"""A box that overlaps less (IoU) with that of the picture before has jumped."""


_OF_DETECTOR: Final = ("detection_threshold", "detector_size", "max_people")


class StaleFrameError(ValueError):
    """A picture is not newer than the one before it."""


@dataclass(frozen=True)
class _Last:
    """What the last picture has left."""

    people: People
    """As the models saw them: not smoothed, no joint left out."""

    size: tuple[int, int]
    since_detection: int
    """Pictures since the detector last ran."""

    strengths: NDArray[np.float32]
    """`[P]` mean score of the joints when the detector last ran."""

    unsure: bool
    """Whether the detector must look at the next picture."""

    asked: PoseOptions
    """The options that the people were found with."""

    def serves(self, options: PoseOptions) -> bool:
        """Whether the detector would be asked for the same people again."""
        return all(getattr(self.asked, name) == getattr(options, name) for name in _OF_DETECTOR)


class CameraSession:
    """Answers the pictures of one camera, in order; its people keep their ids.

    Args:
        detect_every: the detector runs at least on every so many-th picture, and where it is not
            sure that the people are still where they were. Between, boxes follow the keypoints.
        smoothing: whether keypoints are smoothed over time.

    Raises:
        TrackingUnavailableError: the package that follows people is not installed.
    """

    def __init__(self, *, detect_every: int, smoothing: bool) -> None:
        self._detect_every = detect_every
        self._identities = Identities()
        self._smoothing = Smoothing() if smoothing else None
        self._last: _Last | None = None
        self._timestamp: float | None = None

    async def find(
        self, picture: Picture, options: PoseOptions, timestamp: float, find: Find[Picture]
    ) -> PoseResult:
        """The people of the next picture; one call at a time.

        A picture that cannot be answered leaves the session as it was.

        Args:
            picture: encoded, or an array where `find` takes one.
            options: of this picture; the session gives the boxes.
            timestamp: seconds, by any clock that goes with the camera.
            find: answers pictures.

        Raises:
            StaleFrameError: the picture is not newer than the last one.
        """
        if self._timestamp is not None and timestamp <= self._timestamp:
            raise StaleFrameError(
                f"timestamp: {timestamp} is not later than {self._timestamp}, that of the camera's "
                "last picture"
            )
        asked = options.model_copy(update={"keypoint_threshold": 0.0, "boxes": None})
        result = await self._followed(picture, asked, find)
        if result is None:
            result = await find(picture, asked)
            self._last = _detected(result, asked)
        started = time.perf_counter()
        people = self._named(result.people, timestamp)
        self._timestamp = timestamp
        if options.keypoint_threshold > 0:
            people = people.without_unsure_joints(options.keypoint_threshold)
        spent = (time.perf_counter() - started) * 1e3
        timing = dict(result.timing_ms)
        total = timing.pop("total") + spent
        timing |= {"tracking": round(spent, 3), "total": round(total, 3)}
        return replace(result, people=people, timing_ms=timing)

    async def _followed(
        self, picture: Picture, options: PoseOptions, find: Find[Picture]
    ) -> PoseResult | None:
        """The people at boxes that follow their keypoints, None where the detector must look."""
        last = self._last
        if last is None or last.unsure or not last.serves(options):
            return None
        if last.since_detection + 1 >= self._detect_every:
            return None
        stay = inside(last.people.boxes, *last.size)
        before, strengths = last.people[stay], last.strengths[stay]
        boxes = tuple(tuple(map(float, box)) for box in before.boxes)
        try:
            result = await find(picture, options.model_copy(update={"boxes": boxes}))
        except BoxError:  # the picture is smaller than the last one was
            return None
        if (result.width, result.height) != last.size:
            return None
        moved, told = moved_boxes(before, result.people)
        people = replace(result.people, boxes=moved, scores=before.scores)
        self._last = _Last(
            people,
            last.size,
            last.since_detection + 1,
            strengths,
            not told.all() or _lost(before.boxes, people, strengths, last.size),
            last.asked,
        )
        return replace(result, people=people)

    def _named(self, people: People, timestamp: float) -> People:
        ids = self._identities.update(people.boxes, people.scores, timestamp)
        named = replace(people, track_ids=ids)
        if self._smoothing is None:
            return named
        return self._smoothing(named, timestamp)


def _detected(result: PoseResult, asked: PoseOptions) -> _Last:
    size = result.width, result.height
    comes_or_goes = bool(at_border(result.people.boxes, *size).any())
    return _Last(result.people, size, 0, _strengths(result.people), comes_or_goes, asked)


def _strengths(people: People) -> NDArray[np.float32]:
    return np.asarray(people.keypoints[:, :, 2].mean(axis=1))


def _lost(
    boxes: NDArray[np.float32],
    people: People,
    strengths: NDArray[np.float32],
    size: tuple[int, int],
) -> bool:
    """Whether somebody may not be where his box is."""
    if not len(people):
        return False
    weaker = _strengths(people) < WEAKER * strengths
    jumped = np.diagonal(box_iou(boxes, people.boxes)) < LEAST_STAY
    together = np.triu(box_iou(people.boxes, people.boxes), 1).max() > SAME_PLACE
    gone = at_border(people.boxes, *size)
    return bool((weaker | jumped | gone).any() or together)
