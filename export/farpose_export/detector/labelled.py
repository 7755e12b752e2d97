"""Labelled people whom a detector must not lose in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from farpose.evaluation.dataset import DatasetError
from farpose.evaluation.detection import DetectionReport, LabelledPicture, evaluate_detector
from farpose.evaluation.formats import load_annotated
from farpose.geometry import box_iou
from farpose.options import PoseOptions
from farpose_export.detector.pictures import SIZES
from farpose_export.detector.step import DetectorStep, Found
from farpose_export.precise import LabelledFiles
from farpose_training.detection.inference import onnx_detector

THRESHOLD: Final[float] = PoseOptions().detection_threshold
"""Score that the pipeline asks for, unless told otherwise."""

AGREEING_IOU: Final = 0.8

Look = tuple[NDArray[np.floating], NDArray[np.floating]]
"""What is found in one picture at one size: boxes `[K,4]` in picture pixels, scores `[K]`."""


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with the boxes of people in them, read once."""

    pictures: tuple[LabelledPicture, ...]
    name: str
    """The annotations' file name."""

    @classmethod
    def load(cls, files: LabelledFiles) -> Self:
        """Read all pictures of a dataset.

        Raises:
            DatasetError: something of it cannot be read, or nobody is in it.
        """
        dataset = load_annotated(files.annotations, files.images)
        if not len(dataset):
            raise DatasetError(f"{files.annotations}: has no labelled people")
        nobody = np.zeros((0, 4))
        pictures = tuple(
            LabelledPicture(picture.read(), dataset.boxes[dataset.picture_index == index], nobody)
            for index, picture in enumerate(dataset.pictures)
        )
        return cls(pictures, files.annotations.name)

    def compare(self, full: onnx.ModelProto, low: onnx.ModelProto, target: str) -> DetectorStep:
        """The step from a graph to the same in fewer bits; it does not refuse.

        Args:
            full: FP32, of the contract of `person_detector`.
            low: the same in the precision `target`.
            target: see `DetectorStep`.
        """
        looks = [self._looks(graph) for graph in (full, low)]
        before, after = (self._report(part) for part in looks)
        price = before.false_boxes(THRESHOLD)
        sure = [boxes[scores >= THRESHOLD] for boxes, scores in looks[0]]
        agreeing = [
            int((box_iou(ours, theirs).max(axis=1, initial=0) > AGREEING_IOU).sum())
            for ours, (theirs, _) in zip(sure, looks[1], strict=True)
        ]
        return DetectorStep(
            target=target,
            pictures=before.pictures,
            people=before.people(),
            before=_found(before, price),
            after=_found(after, price),
            detections=sum(map(len, sure)),
            agreeing=sum(agreeing),
        )

    def _looks(self, graph: onnx.ModelProto) -> list[Look]:
        detect = onnx_detector(graph.SerializeToString())
        return [detect(picture.image, size) for size in SIZES for picture in self.pictures]

    def _report(self, looks: Sequence[Look]) -> DetectionReport:
        """Looks at all sizes as one evaluation, so that a small set decides less by chance."""
        seen: Iterator[Look] = iter(looks)
        return evaluate_detector(lambda image, size: next(seen), self.pictures * len(SIZES), 0)


def _found(report: DetectionReport, price: int) -> Found:
    return Found(
        recall=report.recall(THRESHOLD),
        false_boxes=report.false_boxes(THRESHOLD),
        recall_at_price=report.recall(report.threshold_for(price)),
    )
