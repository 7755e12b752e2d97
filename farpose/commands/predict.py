"""`farpose predict`."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from farpose.drawing import DRAW_THRESHOLD
from farpose.options import PoseOptions
from farpose.outputs import CocoResults, JsonFile, JsonLines, Output, Table, farpose_document
from farpose.overlays import OverlayError, OverlayFolder, OverlayVideo, overlay, privacy_view
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository
from farpose.sources import SourceError, files_of, is_video, read_frames

DEFAULTS: Final = PoseOptions()


class OutputError(ValueError):
    """The output cannot be of that kind; the message says what can."""


class Format(StrEnum):
    """What JSON is written."""

    FARPOSE = "farpose"
    COCO = "coco"


def predict(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Pictures, videos, or folders of them."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            help="FILE.json: one document; FILE.jsonl or -: a line per picture; FILE.mp4: a video "
            "with skeletons; a folder: pictures with skeletons. Without it, a table is printed."
        ),
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="What JSON is written.")
    ] = Format.FARPOSE,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Draw skeletons on a plain background.")
    ] = False,
    repository: Annotated[
        Path | None, typer.Option(help="Model repository; the bundled one by default.")
    ] = None,
    pose_model: Annotated[
        str, typer.Option(help="A pose model of the repository, or auto.")
    ] = DEFAULTS.pose_model,
    detection_threshold: Annotated[
        float, typer.Option(min=0.05, max=1, help="Leave out people less sure than this.")
    ] = DEFAULTS.detection_threshold,
    keypoint_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out joints less sure than this.")
    ] = DEFAULTS.keypoint_threshold,
    detector_size: Annotated[
        int,
        typer.Option(
            min=128, max=1280, help="Longer side the detector sees, in pixels, a multiple of 32."
        ),
    ] = DEFAULTS.detector_size,
) -> None:
    """Find people and their keypoints in pictures and videos."""
    options = PoseOptions(
        detection_threshold=detection_threshold,
        keypoint_threshold=keypoint_threshold,
        detector_size=detector_size,
        pose_model=pose_model,
    )
    files, failed = _files(sources)
    sink = _output(output, output_format, anonymous, keypoint_threshold or DRAW_THRESHOLD, files)
    if not files:
        raise typer.Exit(1)

    from farpose.engines.onnxruntime import OnnxRuntimeEngine

    with (
        OnnxRuntimeEngine(repository or default_repository()) as engine,
        asyncio.Runner() as runner,
        sink,
    ):
        pipeline = PosePipeline(engine)
        runner.run(pipeline.pose_model(pose_model))  # a wrong name ends here
        for path in files:
            try:
                for frame in read_frames(path):
                    _progress(f"{path}" + (f" frame {frame.index}" if frame.index else ""))
                    sink.write(frame, runner.run(pipeline(frame.image, options)))
            except (SourceError, OverlayError) as error:
                _complain(error)
                failed = True
        _progress("")
    if failed:
        raise typer.Exit(1)


def _files(sources: list[Path]) -> tuple[list[Path], bool]:
    """The files of all sources, and whether a source had none."""
    files: list[Path] = []
    failed = False
    for source in sources:
        try:
            files += files_of(source)
        except SourceError as error:
            _complain(error)
            failed = True
    return files, failed


def _output(
    output: str | None, wanted: Format, anonymous: bool, threshold: float, files: list[Path]
) -> Output:
    path = Path(output or "")
    suffix = "" if path.is_dir() else path.suffix.lower()
    drawn = output not in (None, "-") and suffix in ("", ".mp4")
    if anonymous and not drawn:
        raise OutputError("--anonymous draws: give FILE.mp4 or a folder as --output")
    if wanted is Format.COCO and (drawn or output is None):
        raise OutputError("--format coco is JSON: give FILE.json, FILE.jsonl or - as --output")
    if output not in (None, "-") and any(file.resolve() == path.resolve() for file in files):
        raise OutputError(f"{output} is a source too: it would be overwritten")
    if suffix and not path.parent.is_dir():
        raise OutputError(f"{output}: there is no folder {path.parent}")

    draw = (privacy_view if anonymous else overlay)(threshold)
    make = (
        CocoResults(ids_from_names=_have_ids(files)) if wanted is Format.COCO else farpose_document
    )
    match output, suffix:
        case None, _:
            return Table()
        case "-", _:
            return JsonLines(sys.stdout, make)
        case _, ".json":
            return JsonFile(path, make)
        case _, ".jsonl":
            return JsonLines(path, make)
        case _, ".mp4":
            return OverlayVideo(path, draw)
        case _, "":
            return OverlayFolder(path, draw)
        case _, ".parquet":
            raise OutputError(f"{output}: Parquet is not written yet; use .jsonl")
    raise OutputError(f"{output}: use .json, .jsonl, .mp4, a folder, or - as --output")


def _have_ids(files: list[Path]) -> bool:
    """Whether the files are pictures named by distinct COCO image ids."""
    ids = {int(file.stem) for file in files if file.stem.isdecimal() and not is_video(file)}
    return len(ids) == len(files)


def _complain(error: Exception) -> None:
    _progress("")
    typer.echo(f"error: {error}", err=True)


def _progress(text: str) -> None:
    """One line on a terminal's stderr that is rewritten; nothing in a log."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
