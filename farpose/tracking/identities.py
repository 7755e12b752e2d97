"""Which boxes are the same person's as before."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.extras import how_to_install
from farpose.people import NOBODY

LOST_SECONDS: Final = 2.0
"""A person who is not seen for so long comes back as somebody else."""

_FRAME_RATE: Final = 30.0
"""In whose frames the tracker counts; the real times are given with every update."""

_OVERLAP: Final = 0.2
"""Least IoU of a box with where its person is expected."""

_HIGH_SCORE: Final = 0.5
"""Boxes that score higher are given to people first (ByteTrack, Zhang et al., ECCV 2022)."""


class TrackingUnavailableError(RuntimeError):
    """The package that follows people is not installed."""


class Identities:
    """Ids of one camera's people, from 1, by ByteTrack.

    Raises:
        TrackingUnavailableError: the package `trackers` is not installed.
    """

    def __init__(self) -> None:
        try:
            import supervision
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise TrackingUnavailableError(
                "people are followed with the package trackers, which is not installed: "
                f"{how_to_install('track')}"
            ) from error
        self._boxes_of = supervision.Detections
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(LOST_SECONDS * _FRAME_RATE),
            frame_rate=_FRAME_RATE,
            track_activation_threshold=0.0,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=_OVERLAP,
            high_conf_det_threshold=_HIGH_SCORE,
        )

    def update(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], timestamp: float
    ) -> NDArray[np.int64]:
        """Ids `[P]` of boxes `[P,4]` with scores `[P]`, `NOBODY` where there is none yet.

        Args:
            boxes: x1, y1, x2, y2 in frame pixels.
            scores: of the detector.
            timestamp: seconds, later than the last one.
        """
        found = self._tracker.update(
            self._boxes_of(
                xyxy=boxes.astype(np.float64),
                confidence=scores,
                data={"index": np.arange(len(boxes))},
            ),
            timestamp=timestamp,
        )
        ids = np.full(len(boxes), NOBODY, np.int64)
        if len(found):
            ids[np.asarray(found.data["index"])] = np.asarray(found.tracker_id)
        return np.where(ids < 0, NOBODY, ids + 1)
