"""Names of pictures and frames where each has a file or an entry of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from farpose.sources import Frame


class DistinctNames:
    """A name for every frame of a job that no other frame of it has.

    Args:
        name: what a frame would be called; a second one of the same name has `-2` behind it.
    """

    def __init__(self, name: Callable[[Frame], str]) -> None:
        self._name = name
        self._sources: dict[str, dict[Path, int]] = {}

    def __call__(self, frame: Frame) -> str:
        """The name, the same each time."""
        name = self._name(frame)
        path = Path(name)
        # All frames of a video have the number of their video.
        key = name if frame.index is None else f"{path.parent / frame.source.stem}/"
        sources = self._sources.setdefault(key, {})
        number = sources.setdefault(frame.source, len(sources) + 1)
        if number == 1:
            return name
        if frame.index is None:
            return str(path.with_stem(f"{path.stem}-{number}"))
        return name.replace(frame.source.stem, f"{frame.source.stem}-{number}", 1)


def numbered(frame: Frame) -> str:
    """`NAME` for pictures and `NAME-000012` for frames of a video, as drawings are called."""
    stem = frame.source.stem
    return stem if frame.index is None else f"{stem}-{frame.index:06d}"


def in_cvat(files: Sequence[Path]) -> Callable[[Frame], str]:
    """As CVAT calls what a task is made of: pictures by their file's name, frames of its one video
    `frame_000012`, and those of several videos in a folder for each.
    """
    alone = len(files) == 1

    def name(frame: Frame) -> str:
        if frame.index is None:
            return frame.source.name
        number = f"frame_{frame.index:06d}"
        return number if alone else f"{frame.source.stem}/{number}"

    return name
