"""Keypoints of people who keep their ids, smoothed over time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from farpose.people import NOBODY, People
from farpose.tracking.identities import LOST_SECONDS
from farpose.tracking.one_euro import OneEuroFilter


@dataclass
class _Filtered:
    """One person's filter."""

    filter: OneEuroFilter
    last_seen: float


class Smoothing:
    """A One-Euro filter for each person; people who are gone are forgotten."""

    def __init__(self) -> None:
        self._filters: dict[int, _Filtered] = {}

    def __call__(self, people: People, timestamp: float) -> People:
        """The people with smoothed keypoints; those without an id are left as they are.

        Args:
            people: with `track_ids`.
            timestamp: seconds, later than the last one.
        """
        keypoints = people.keypoints.copy()
        ids = [] if people.track_ids is None else people.track_ids.tolist()
        for i, identity in enumerate(ids):
            if identity == NOBODY:
                continue
            own = self._filters.get(identity)
            if own is None:
                own = _Filtered(OneEuroFilter(len(people.keypoint_set)), timestamp)
                self._filters[identity] = own
            own.last_seen = timestamp
            height = float(people.boxes[i, 3] - people.boxes[i, 1])
            keypoints[i, :, :2] = own.filter(
                keypoints[i, :, :2], keypoints[i, :, 2] > 0, max(height, 1.0), timestamp
            )
        gone = timestamp - LOST_SECONDS
        self._filters = {k: own for k, own in self._filters.items() if own.last_seen > gone}
        return replace(people, keypoints=keypoints)
