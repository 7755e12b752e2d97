"""What `--output` and `--format` ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from farpose.archive.formats.cvat import CvatImages
from farpose.archive.formats.parquet import ParquetTable, arrow
from farpose.archive.formats.yolo import YoloLabels
from farpose.drawing import DRAW_THRESHOLD
from farpose.outputs import CocoResults, JsonFile, JsonLines, Output, Table, farpose_document
from farpose.overlays import OverlayFolder, OverlayVideo, overlay, privacy_view
from farpose.sources import is_video


class OutputError(ValueError):
    """The output cannot be of that kind; the message says what can."""


class Format(StrEnum):
    """What is written."""

    FARPOSE = "farpose"
    COCO = "coco"
    CVAT = "cvat"
    YOLO = "yolo"


@dataclass(frozen=True)
class Target:
    """Where results go, and as what."""

    path: Path | None
    """A file, or a folder; None for what is printed."""

    open: Callable[[Path], Output]
    """The output at a path, which is the final one or another of the same suffix."""

    drawn: bool = False
    """Whether it draws on the frames."""

    folder: bool = False

    content: str = ""
    """What tells outputs of one path apart that are written from the same results."""

    @property
    def exists(self) -> bool:
        """Whether something is there that would be lost."""
        if self.path is None or not self.path.exists():
            return False
        return not self.folder or any(self.path.iterdir())


_SUFFIXES: Final = {
    Format.FARPOSE: (".json", ".jsonl", ".parquet", ".mp4", ""),
    Format.COCO: (".json", ".jsonl"),
    Format.CVAT: (".xml",),
    Format.YOLO: ("",),
}


def target_of(
    output: str | None,
    wanted: Format,
    files: Sequence[Path],
    *,
    anonymous: bool = False,
    keypoint_threshold: float = 0.0,
) -> Target:
    """What to write where.

    Args:
        output: a file, a folder, `-` for stdout, or None for a table on stdout.
        wanted: what is written.
        files: of the job.
        anonymous: draw no pixel of the frames.
        keypoint_threshold: joints that score less are left out of drawings and labels; 0 for the
            usual one.

    Raises:
        OutputError: that cannot be written.
        ParquetUnavailableError: pyarrow is not installed.
    """
    target = _target_of(output, wanted, files, anonymous, keypoint_threshold)
    return replace(target, content=f"{wanted} anonymous" if anonymous else str(wanted))


def _target_of(
    output: str | None,
    wanted: Format,
    files: Sequence[Path],
    anonymous: bool,
    keypoint_threshold: float,
) -> Target:
    threshold = keypoint_threshold or DRAW_THRESHOLD
    path = Path(output or "")
    suffix = "" if path.is_dir() else path.suffix.lower()
    _check(output, wanted, files, suffix, anonymous)
    make = (
        CocoResults(ids_from_names=_have_ids(files)) if wanted is Format.COCO else farpose_document
    )
    draw = (privacy_view if anonymous else overlay)(threshold)
    match output, suffix:
        case None, _:
            return Target(None, lambda _: Table())
        case "-", _:
            return Target(None, lambda _: JsonLines(sys.stdout, make))
        case _, ".json":
            return Target(path, lambda at: JsonFile(at, make))
        case _, ".jsonl":
            return Target(path, lambda at: JsonLines(at, make))
        case _, ".parquet":
            arrow()
            return Target(path, ParquetTable)
        case _, ".xml":
            return Target(path, lambda at: CvatImages(at, files, threshold))
        case _, ".mp4":
            return Target(path, lambda at: OverlayVideo(at, draw), drawn=True)
    if wanted is Format.YOLO:
        return Target(path, lambda at: YoloLabels(at, threshold), folder=True)
    return Target(path, lambda at: OverlayFolder(at, draw), drawn=True, folder=True)


def _check(
    output: str | None, wanted: Format, files: Sequence[Path], suffix: str, anonymous: bool
) -> None:
    to_stdout = output in (None, "-")
    drawn = not to_stdout and suffix in ("", ".mp4") and wanted is Format.FARPOSE
    if anonymous and not drawn:
        raise OutputError("--anonymous draws: give FILE.mp4 or a folder as --output")
    if wanted is Format.COCO and (output is None or (output != "-" and suffix not in _json())):
        raise OutputError("--format coco is JSON: give FILE.json, FILE.jsonl or - as --output")
    if wanted is Format.CVAT and (to_stdout or suffix != ".xml"):
        raise OutputError("--format cvat is XML: give FILE.xml as --output")
    if wanted is Format.YOLO and (to_stdout or suffix):
        raise OutputError("--format yolo is a file per frame: give a folder as --output")
    if to_stdout or output is None:
        return
    if suffix == ".xml" and wanted is Format.FARPOSE:
        raise OutputError(f"{output}: give --format cvat for labels in CVAT's XML")
    if suffix not in _SUFFIXES[wanted]:
        raise OutputError(
            f"{output}: use .json, .jsonl, .parquet, .mp4, .xml, a folder, or - as --output"
        )
    path = Path(output)
    if any(file.resolve() == path.resolve() for file in files):
        raise OutputError(f"{output} is a source too: it would be overwritten")
    if suffix and not path.parent.is_dir():
        raise OutputError(f"{output}: there is no folder {path.parent}")
    if not suffix and path.exists() and not path.is_dir():
        raise OutputError(f"{output}: is a file, and no suffix says what to write")


def _json() -> tuple[str, ...]:
    return _SUFFIXES[Format.COCO]


def _have_ids(files: Sequence[Path]) -> bool:
    """Whether the files are pictures named by distinct COCO image ids."""
    ids = {int(file.stem) for file in files if file.stem.isdecimal() and not is_video(file)}
    return len(ids) == len(files)
