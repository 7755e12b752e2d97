"""Whether a wrapped detector finds whom the original finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from farpose.geometry import box_iou
from farpose_export.detector.network import Detections, Predict
from farpose_export.gate.check import ParityError
from farpose_training.detection.tail import DETECTIONS

COMPARED_SCORE: Final = 0.25
"""Detections of the original that score at least so much must be found."""

MIN_IOU: Final = 0.98
MAX_SCORE_DIFFERENCE: Final = 0.01

MAX_MISSED: Final = 0.005
"""Share of the detections that only one of the two may have: where two boxes overlap by just the
limit of the suppression, or two scores are equal, the last bit decides."""


@dataclass(frozen=True)
class DetectorParity:
    """Differences between a detector and its wrapped graph on the same pictures."""

    pictures: int
    people: int
    """Sure detections of both."""

    missed: int
    """Of them, those that the other has not, or in another box or with another score."""

    min_iou: float
    """Of the boxes that belong together; 1 where there are none."""

    max_score: float

    def to_json(self) -> dict[str, Any]:
        """For `parity.json`."""
        return asdict(self)

    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.people} detections in {self.pictures} pictures, {self.missed} of them by only "
            f"one of the two; boxes overlap by {self.min_iou:.4f} at least, scores differ by "
            f"{self.max_score:.2g} at most"
        )


def check_detector(
    graph: onnx.ModelProto, predict: Predict, pictures: Sequence[NDArray[np.uint8]]
) -> DetectorParity:
    """Compare a wrapped graph with its original, in both directions.

    Args:
        graph: of `wrap`.
        predict: the original.
        pictures: letterboxed, `[H,W,3]` UINT8 RGB.

    Raises:
        ParityError: more than 0.5 % of the detections are not shared, with boxes that overlap by
            0.98 and scores within 0.01, or nobody is found at all.
    """
    options = ort.SessionOptions()
    # Its threads would wait for work on the cores that the original's want in turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    people, missed, overlaps, differences = 0, 0, [1.0], [0.0]
    for picture in pictures:
        original = _clipped(predict(picture), picture)
        boxes, scores = (
            part[0] for part in session.run(["boxes", "scores"], {"images": picture[None]})
        )
        wrapped = _clipped(Detections(boxes[scores > 0], scores[scores > 0]), picture)
        for one, other in ((original, wrapped), (wrapped, original)):
            sure = one.scores >= COMPARED_SCORE
            people += int(sure.sum())
            for box, score in zip(one.boxes[sure], one.scores[sure], strict=True):
                ious = box_iou(box[None], other.boxes)[0] * (
                    np.abs(other.scores - score) <= MAX_SCORE_DIFFERENCE
                )
                if not len(ious) or ious.max() < MIN_IOU:
                    missed += 1
                    continue
                overlaps.append(float(ious.max()))
                differences.append(float(abs(other.scores[ious.argmax()] - score)))
    parity = DetectorParity(len(pictures), people, missed, min(overlaps), max(differences))
    if not people:
        raise ParityError(
            f"nobody is found in the {len(pictures)} pictures that the two detectors are compared "
            "on: give --pictures with people; nothing was written"
        )
    if missed > MAX_MISSED * people:
        raise ParityError(
            f"the wrapped detector disagrees with the original: {parity.text()}; nothing was "
            "written"
        )
    return parity


def _clipped(found: Detections, picture: NDArray[np.uint8]) -> Detections:
    """The best 100, with boxes cut off at the picture's edges, as some originals do."""
    height, width = picture.shape[:2]
    edges = np.array([width, height, width, height], np.float32)
    boxes = np.clip(found.boxes[:DETECTIONS], 0, edges)
    return Detections(boxes, found.scores[:DETECTIONS])
