"""Pseudo-labels: what a teacher is sure of in people whom it sees large."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from farpose.keypoints import KeypointSet
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PosePipeline
from farpose.sources import Frame, read_frames
from farpose_training.labelling.errors import LabellingError

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Rule:
    """Who is labelled, and which of their joints."""

    min_height: float = 128.0
    """Least height of a person's box, frame pixels."""

    joint_threshold: float = 0.5
    """Joints that score less are written as not labelled."""

    min_joints: int = 8
    """People with fewer labelled joints are left out."""

    def apply(self, people: People) -> tuple[People, People]:
        """Those who are labelled, with unsure joints set to 0, 0, 0; and those large enough."""
        large = people[people.boxes[:, 3] - people.boxes[:, 1] >= self.min_height]
        sure = large.without_unsure_joints(self.joint_threshold)
        return sure[(sure.keypoints[:, :, 2] > 0).sum(axis=1) >= self.min_joints], large


@dataclass
class Counts:
    """What became of the people that the detector found."""

    labelled: int = 0
    small: int = 0
    unsure: int = 0

    def add(self, found: People, large: People, labelled: People) -> None:
        """Count one frame's people."""
        self.labelled += len(labelled)
        self.small += len(found) - len(large)
        self.unsure += len(large) - len(labelled)


@dataclass
class PseudoLabels:
    """A COCO-style set that grows frame by frame; the pictures are written as they come.

    Args:
        joints: the teacher's keypoint set.
        images: folder of the pictures.
    """

    joints: KeypointSet
    images: Path
    counts: Counts = field(default_factory=Counts)
    _images: list[dict[str, Any]] = field(default_factory=list)
    _annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, frame: Frame, people: People) -> None:
        """Write a frame's picture and the labels of its people.

        Raises:
            LabellingError: another file gave a picture of that name.
        """
        name = picture_name(frame)
        if any(image["file_name"] == name for image in self._images):
            raise LabellingError(f"{frame.source}: another source has that name too; rename one")
        self.images.mkdir(parents=True, exist_ok=True)
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(self.images / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        height, width = frame.image.shape[:2]
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for annotation in annotations_of(people):
            ids = {"id": len(self._annotations) + 1, "image_id": image_id}
            self._annotations.append(ids | annotation)

    def content(self) -> dict[str, Any]:
        """The annotation file."""
        category = {"id": 1, "name": "person", "keypoints": list(self.joints.joints)}
        return {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [category],
        }


def annotations_of(people: People) -> Iterator[dict[str, Any]]:
    """COCO-style annotations without ids; joints with score 0 have visibility 0."""
    for box, joints in zip(people.boxes, people.keypoints, strict=True):
        x1, y1, x2, y2 = map(float, box)
        keypoints = np.where(joints[:, 2:] > 0, joints, 0).astype(np.float64)
        keypoints[:, 2] = 2 * (joints[:, 2] > 0)
        yield {
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            "keypoints": [round(float(v), 2) for v in keypoints.ravel()],
            "num_keypoints": int((joints[:, 2] > 0).sum()),
        }


def picture_name(frame: Frame) -> str:
    """File name of a frame's picture: `clip_mp4_000120.jpg`, `street_png.jpg`."""
    number = "" if frame.index is None else f"_{frame.index:06d}"
    return frame.source.name.replace(".", "_") + number + ".jpg"


def label_files(
    files: Iterable[Path],
    pipeline: PosePipeline,
    labels: PseudoLabels,
    rule: Rule,
    options: PoseOptions,
    every: int,
) -> Iterator[tuple[Path, Counts]]:
    """Label pictures and every `every`-th frame of videos; after each frame, what came of it.

    Raises:
        SourceError: a file cannot be read.
        EngineError: a model failed.
    """
    with asyncio.Runner() as runner:
        for path in files:
            for frame in read_frames(path):
                if (frame.index or 0) % every:
                    continue
                found = runner.run(pipeline(frame.image, options)).people
                labelled, large = rule.apply(found)
                labels.counts.add(found, large, labelled)
                if len(labelled):
                    labels.add(frame, labelled)
                yield path, labels.counts
