"""What `farpose predict` draws: a video or a folder of pictures with skeletons."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.drawing import draw_anonymous, draw_people
from farpose.frame_names import DistinctNames, numbered
from farpose.outputs import FOLDER_PARTIAL, atomic_file
from farpose.people import People
from farpose.pipeline import PoseResult
from farpose.sources import Frame

PICTURES_PER_SECOND: Final = 2.0
"""Rate of a video made from pictures, or from a video that does not tell its own."""

Draw = Callable[[NDArray[np.uint8], People], NDArray[np.uint8]]
"""A frame `[H,W,3]` RGB and its people to a drawing of the same size."""


class OverlayError(ValueError):
    """A drawing cannot be written; the message says where."""


def overlay(threshold: float) -> Draw:
    """Skeletons and boxes on the frame itself; joints below `threshold` are left out."""
    return lambda frame, people: draw_people(frame, people, threshold=threshold)


def privacy_view(threshold: float) -> Draw:
    """Skeletons on a plain background: nothing of the frame is left."""

    def draw(frame: NDArray[np.uint8], people: People) -> NDArray[np.uint8]:
        return draw_anonymous(frame.shape[1], frame.shape[0], people, threshold=threshold)

    return draw


class OverlayVideo:
    """All frames as one MP4 video, of the size and rate of the first."""

    def __init__(self, path: Path, draw: Draw) -> None:
        self._path = path
        self._draw = draw
        self._resources = contextlib.ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0
        self._partial: Path | None = None

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`. `OverlayError` if the frame is not of the video's size."""
        size = (result.width, result.height)
        if self._writer is None:
            self._size = size
            self._writer = self._open(frame.rate or PICTURES_PER_SECOND)
        if size != self._size:
            raise OverlayError(
                f"{frame.source}: it is {size[0]}x{size[1]}, the video {self._size[0]}x"
                f"{self._size[1]}: give a folder as --output for pictures of several sizes"
            )
        drawn = self._draw(frame.image, result.people)
        # MPEG-4 has colour at half resolution: an odd last row or column is repeated.
        even = np.pad(drawn, ((0, size[1] % 2), (0, size[0] % 2), (0, 0)), mode="edge")
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _open(self, rate: float) -> cv2.VideoWriter:
        size = tuple(length + length % 2 for length in self._size)
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._partial = self._resources.enter_context(atomic_file(self._path))
        writer = cv2.VideoWriter(str(self._partial), code, rate, size)
        if not writer.isOpened():
            raise OverlayError(f"{self._path}: the video cannot be written")
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and self._partial is not None:
            # The writer does not say when the disk is full.
            written = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
            frames = written.get(cv2.CAP_PROP_FRAME_COUNT)
            written.release()
            if frames != self._frames:
                problem = OverlayError(
                    f"{self._path}: the video cannot be written: is the disk full?"
                )
                self._resources.__exit__(type(problem), problem, None)
                raise problem
        self._resources.__exit__(kind, error, trace)


class OverlayFolder:
    """A drawing per frame: `NAME.jpg` for pictures, `NAME-000012.jpg` for frames of a video."""

    def __init__(self, folder: Path, draw: Draw) -> None:
        self._folder = folder
        self._partial = folder / FOLDER_PARTIAL
        self._draw = draw
        self._names = DistinctNames(numbered)
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`. A source is never overwritten by its drawing."""
        target = self._folder / f"{self._names(frame)}.jpg"
        if target.exists() and target.resolve() == frame.source.resolve():
            raise OverlayError(f"{target}: would be overwritten; give another folder as --output")
        drawn = cv2.cvtColor(self._draw(frame.image, result.people), cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 92])
        with atomic_file(target, self._partial) as partial:
            partial.write_bytes(encoded.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # Of a run that was killed, if this one has written nothing.
        self._partial.unlink(missing_ok=True)
