"""Labels for the annotation tool CVAT, in its format "CVAT for images 1.1"."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from xml.sax.saxutils import quoteattr

from farpose.frame_names import DistinctNames, in_cvat
from farpose.keypoints import KeypointSet
from farpose.outputs import atomic_file
from farpose.people import NOBODY, People
from farpose.pipeline import PoseResult
from farpose.sources import Frame

LABEL = "person"


class CvatImages:
    """An XML file with an `image` per picture or frame, and a skeleton and a box per person.

    Joints are on CVAT's plane, where the first pixel's centre is 0.5, and below the threshold they
    are marked as outside. Box and skeleton of a person are one group; both say the score, and the
    track where there is one.

    Args:
        path: the file.
        files: of the job, which decides how frames are called.
        threshold: joints that score less are outside.
    """

    def __init__(self, path: Path, files: Sequence[Path], threshold: float) -> None:
        self._path = path
        self._threshold = threshold
        self._names = DistinctNames(in_cvat(files))
        self._resources = contextlib.ExitStack()
        self._stream: IO[str] | None = None
        self._images = 0

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        if self._stream is None:
            partial = self._resources.enter_context(atomic_file(self._path))
            self._stream = self._resources.enter_context(partial.open("w", encoding="utf-8"))
            self._stream.write(_head(result.people.keypoint_set))
        self._stream.write(
            f'<image id="{self._images}" name={quoteattr(self._names(frame))} '
            f'width="{result.width}" height="{result.height}">\n'
        )
        for i in range(len(result.people)):
            self._stream.write(_person(result.people, i, self._threshold))
        self._stream.write("</image>\n")
        self._images += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._stream is not None:
            self._stream.write("</annotations>\n")
        self._resources.__exit__(kind, error, trace)


def _head(joints: KeypointSet) -> str:
    """The labels that a task needs for these annotations."""
    attributes = "".join(
        f"<attribute><name>{name}</name><mutable>True</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for name in ("score", "track_id")
    )
    parts = "".join(
        f"<label><name>{joint}</name><type>points</type><attributes></attributes>"
        f"<parent>{LABEL}</parent></label>\n"
        for joint in joints.joints
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><labels>\n<label><name>{LABEL}</name><type>skeleton</type>"
        f"<attributes>{attributes}</attributes></label>\n{parts}"
        f"<label><name>{LABEL} box</name><type>rectangle</type>"
        f"<attributes>{attributes}</attributes></label>\n</labels></task></meta>\n"
    )


def _person(people: People, i: int, threshold: float) -> str:
    attributes = f'<attribute name="score">{people.scores[i]:.4f}</attribute>'
    if people.track_ids is not None and people.track_ids[i] != NOBODY:
        attributes += f'<attribute name="track_id">{people.track_ids[i]}</attribute>'
    points = "".join(
        f'<points label="{joint}" source="auto" outside="{int(score < threshold)}" occluded="0" '
        f'points="{x + 0.5:.2f},{y + 0.5:.2f}"></points>\n'
        for joint, (x, y, score) in zip(
            people.keypoint_set.joints, people.keypoints[i].tolist(), strict=True
        )
    )
    x1, y1, x2, y2 = people.boxes[i].tolist()
    group = f'source="auto" z_order="0" group_id="{i + 1}"'
    return (
        f'<skeleton label="{LABEL}" {group}>\n{attributes}\n{points}</skeleton>\n'
        f'<box label="{LABEL} box" occluded="0" {group} xtl="{x1:.2f}" ytl="{y1:.2f}" '
        f'xbr="{x2:.2f}" ybr="{y2:.2f}">{attributes}</box>\n'
    )
