"""Labels as YOLO pose models are trained with: a text file per picture or frame.

A line per person: class 0, the box's middle, width and height, and x, y and visibility of each
joint, all positions as shares of the picture. Tracks and scores have no place in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Self

import numpy as np

from farpose.frame_names import DistinctNames, numbered
from farpose.keypoints import KeypointSet
from farpose.outputs import FOLDER_PARTIAL, atomic_file
from farpose.pipeline import PoseResult
from farpose.sources import Frame

_VISIBLE: Final = 2


class YoloLabels:
    """`labels/NAME.txt` for every picture and frame, empty where nobody is, and `data.yaml`.

    Args:
        folder: is made.
        threshold: joints that score less are not labelled: 0 0 0.
    """

    def __init__(self, folder: Path, threshold: float) -> None:
        self._folder = folder
        self._partial = folder / FOLDER_PARTIAL
        self._threshold = threshold
        self._names = DistinctNames(numbered)
        self._described = False

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        if not self._described:
            (self._folder / "labels").mkdir(parents=True, exist_ok=True)
            with atomic_file(self._folder / "data.yaml", self._partial) as partial:
                partial.write_text(_description(result.people.keypoint_set))
            self._described = True
        target = self._folder / "labels" / f"{self._names(frame)}.txt"
        with atomic_file(target, self._partial) as partial:
            partial.write_text("".join(f"{line}\n" for line in self._lines(result)))

    def _lines(self, result: PoseResult) -> list[str]:
        people = result.people
        size = np.array([result.width, result.height], np.float64)
        lines = []
        for box, joints in zip(people.boxes, people.keypoints, strict=True):
            low, high = (np.clip(edge / size, 0, 1) for edge in (box[:2], box[2:]))
            # Indices of pixel centres are half a pixel from positions.
            places = (joints[:, :2] + 0.5) / size
            sure = joints[:, 2] >= self._threshold
            sure &= ((places >= 0) & (places <= 1)).all(axis=1)
            rows = np.column_stack([places, np.full(len(joints), _VISIBLE)]) * sure[:, None]
            numbers = [f"{value:.6f}" for value in (*((low + high) / 2), *(high - low))]
            numbers += [f"{x:.6f} {y:.6f} {int(seen)}" for x, y, seen in rows]
            lines.append(" ".join(["0", *numbers]))
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # Of a run that was killed, if this one has written nothing.
        self._partial.unlink(missing_ok=True)


def _description(joints: KeypointSet) -> str:
    """What Ultralytics' trainer wants to know; JSON is YAML."""
    flipped = joints.flip_indices
    return (
        "# Labels made by Farpose. Put the pictures into images/, named like the labels.\n"
        "train: images\nval: images\n"
        f"kpt_shape: [{len(joints)}, 3]\n"
        f"flip_idx: {json.dumps([int(i) for i in flipped])}\n"
        "names: {0: person}\n"
    )
