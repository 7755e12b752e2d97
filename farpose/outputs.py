"""What `farpose predict` writes as text: JSON documents, COCO results, or a table for people."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self

import typer

from farpose.drawing import DRAW_THRESHOLD
from farpose.people import NOBODY
from farpose.pipeline import PoseResult
from farpose.sources import Frame

MakeDocument = Callable[[Frame, PoseResult], Any]
"""A frame and its people to what JSON is written of them."""

FOLDER_PARTIAL: Final = ".farpose-partial"
"""The unfinished file in a folder of outputs, which one run at a time writes.

It always has this name, so that the run after a kill writes over what is left.
"""

_TABLE_ROW: Final = "  {:>6}  {:>6}  {:>5}  {:>6}  {}"


class OutputWriteError(RuntimeError):
    """An output cannot be written; the message says which and why."""

    def __init__(self, output: Path | str, error: OSError) -> None:
        super().__init__(f"{output}: cannot be written ({error.strerror or error})")


class Output(Protocol):
    """Takes results in order.

    Leaving the context finishes the file. Without results there is none, and after an exception an
    older file is as it was.
    """

    def write(self, frame: Frame, result: PoseResult) -> None:
        """Add one frame."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


def farpose_document(frame: Frame, result: PoseResult) -> dict[str, Any]:
    """One frame as the HTTP service answers it, with its source instead of an id."""
    place: dict[str, Any] = {} if frame.index is None else {"frame": frame.index}
    if frame.time is not None:
        place["time"] = round(frame.time, 6)
    return {
        "source": str(frame.source),
        **place,
        "image": {"width": result.width, "height": result.height},
        "models": dict(result.models),
        **result.people.to_dict(),
    }


class CocoResults:
    """COCO keypoint results, a list per frame, with `track_id` where people are followed.

    Args:
        ids_from_names: take the image id from the file name, as COCO's own are named
            (`000000000785.jpg` is 785); otherwise frames are counted from 1.
    """

    def __init__(self, *, ids_from_names: bool) -> None:
        self._ids_from_names = ids_from_names
        self._frames = 0

    def __call__(self, frame: Frame, result: PoseResult) -> list[dict[str, Any]]:
        """The people of the next frame. Results also name their file, and the video's frame."""
        self._frames += 1
        image_id = int(frame.source.stem) if self._ids_from_names else self._frames
        place: dict[str, Any] = {"file_name": frame.source.name}
        if frame.index is not None:
            place["frame"] = frame.index
        people = result.people
        ids = [NOBODY] * len(people) if people.track_ids is None else people.track_ids.tolist()
        return [
            person | place | ({} if identity == NOBODY else {"track_id": identity})
            for person, identity in zip(people.to_coco(image_id), ids, strict=True)
        ]


class JsonFile:
    """All documents in one JSON list, written as they come, so that memory does not grow."""

    def __init__(self, path: Path, make: MakeDocument) -> None:
        self._path = path
        self._make = make
        self._resources = contextlib.ExitStack()
        self._stream: IO[str] | None = None
        self._separator = ""

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        if self._stream is None:
            partial = self._resources.enter_context(atomic_file(self._path))
            self._stream = self._resources.enter_context(partial.open("w"))
            self._stream.write("[")
        document = self._make(frame, result)
        for entry in document if isinstance(document, list) else [document]:
            text = textwrap.indent(json.dumps(entry, indent=1), " ")
            self._stream.write(f"{self._separator}\n{text}")
            self._separator = ","

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._stream is not None:
            self._stream.write("\n]\n" if self._separator else "]\n")
        self._resources.__exit__(kind, error, trace)


class JsonLines:
    """A document per line, into a file or an open stream."""

    def __init__(self, target: Path | IO[str], make: MakeDocument) -> None:
        self._make = make
        self._resources = contextlib.ExitStack()
        self._target = target
        self._stream: IO[str] | None = None

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        if self._stream is None:
            self._stream = self._open()
        self._stream.write(json.dumps(self._make(frame, result)) + "\n")
        if not isinstance(self._target, Path):
            self._stream.flush()

    def _open(self) -> IO[str]:
        if not isinstance(self._target, Path):
            return self._target
        partial = self._resources.enter_context(atomic_file(self._target))
        return self._resources.enter_context(partial.open("w"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The exception goes along, or an unfinished file would take the place of the old one.
        self._resources.__exit__(kind, error, trace)


class Table:
    """A few lines per picture, and one per frame of a video, on stdout."""

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        people = result.people
        number = "" if frame.index is None else f" frame {frame.index}"
        count = "1 person" if len(people) == 1 else f"{len(people) or 'no'} people"
        typer.echo(f"{frame.source}{number}  {result.width}x{result.height}  {count}")
        if frame.index is not None or not len(people):
            return
        typer.echo(_TABLE_ROW.format("person", "height", "score", "joints", "box"))
        for i, (box, score) in enumerate(zip(people.boxes, people.scores, strict=True)):
            sure = int((people.keypoints[i, :, 2] >= DRAW_THRESHOLD).sum())
            corners = ", ".join(f"{edge:.0f}" for edge in box)
            height = f"{box[3] - box[1]:.0f} px"
            joints = f"{sure}/{len(people.keypoint_set)}"
            typer.echo(_TABLE_ROW.format(i + 1, height, f"{score:.2f}", joints, corners))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


@contextlib.contextmanager
def atomic_file(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """A path that takes the place of `path` at the end.

    After an exception `path` is as it was.

    Args:
        path: of the finished file.
        partial: on the same file system; beside `path`, of the same suffix, if None.
    """
    partial = partial or path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
