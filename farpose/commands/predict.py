"""`farpose predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from farpose.archive.finding import Tracking
from farpose.archive.job import ArchiveJob
from farpose.archive.progress import ProgressLine
from farpose.archive.targets import Format, target_of
from farpose.archive.work import Failure
from farpose.cluster.connection import ClusterError, ClusterSettings
from farpose.options import PoseOptions
from farpose.sources import SourceError, files_of

DEFAULTS: Final = PoseOptions()

STOPPED: Final = 130
"""Exit code after Ctrl-C, as shells give it."""


class TrackingOptionError(ValueError):
    """An option of tracks without tracks."""


def predict(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Pictures, videos, folders of them, or patterns in quotes: 'archive/**/*.mp4'.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            help="FILE.json: one document; FILE.jsonl or -: a line per picture; FILE.parquet: a "
            "table; FILE.mp4: a video with skeletons; a folder: pictures with skeletons. Without "
            "it, a table is printed."
        ),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="What is written; coco: results in JSON; cvat: FILE.xml; yolo: a folder of "
            "labels.",
        ),
    ] = Format.FARPOSE,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output that exists.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin anew instead of going on where the last run ended."),
    ] = False,
    track: Annotated[
        bool, typer.Option("--track", help="Follow people through each video: track_id.")
    ] = False,
    detect_every: Annotated[
        int,
        typer.Option(
            min=1, help="With --track: detect on every so many-th frame, follow joints between."
        ),
    ] = 1,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="With --track: smooth keypoints over time.")
    ] = False,
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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|HOST:PORT",
            help="Spread the files over a Ray cluster: one on this machine, or that of a head.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: at most so many; as many as fit if not given."),
    ] = None,
    worker_threads: Annotated[
        int, typer.Option(min=1, help="With --ray: cores of a worker, and threads of its models.")
    ] = 1,
) -> None:
    """Find people and their keypoints in pictures and videos.

    Killed at any moment, the same command goes on where it was.
    """
    options = PoseOptions(
        detection_threshold=detection_threshold,
        keypoint_threshold=keypoint_threshold,
        detector_size=detector_size,
        pose_model=pose_model,
    )
    cluster = _cluster(ray, workers, worker_threads)
    tracking = _tracking(track, detect_every, smooth)
    files, failures = _files(sources)
    target = target_of(
        output,
        output_format,
        files,
        anonymous=anonymous,
        keypoint_threshold=keypoint_threshold,
    )
    if not files:
        raise typer.Exit(1)
    job = ArchiveJob(files, target, options, tracking, repository, cluster, overwrite, restart)
    progress = ProgressLine(files)
    try:
        failures += job.run(progress)
    except KeyboardInterrupt:
        progress.tell(_stopped(job))
        raise typer.Exit(STOPPED) from None
    finally:
        progress.clear()
    if failures:
        _summary(len(files), failures)
        raise typer.Exit(1)


def _cluster(address: str | None, workers: int | None, threads: int) -> ClusterSettings | None:
    if address is not None:
        return ClusterSettings(address, workers, threads)
    if workers is not None or threads != 1:
        raise ClusterError("--workers and --worker-threads go with --ray: give local or an address")
    return None


def _tracking(track: bool, detect_every: int, smooth: bool) -> Tracking | None:
    if track:
        return Tracking(detect_every, smooth)
    if smooth or detect_every != 1:
        raise TrackingOptionError("--detect-every and --smooth go with --track")
    return None


def _files(sources: list[Path]) -> tuple[list[Path], list[Failure]]:
    """The files of all sources, each once, and the sources that had none."""
    files: dict[Path, Path] = {}
    failures = []
    for source in sources:
        try:
            for file in files_of(source):
                files.setdefault(file.absolute(), file)
        except SourceError as error:
            typer.echo(f"error: {error}", err=True)
            failures.append(Failure(source, str(error)))
    return list(files.values()), failures


def _stopped(job: ArchiveJob) -> str:
    kept = job.parts is not None and job.parts.exists()
    return f"stopped; results are kept in {job.parts}: the same command goes on" * kept or "stopped"


def _summary(files: int, failures: Sequence[Failure]) -> None:
    """What is missing, once more at the end: the lines before may have scrolled away."""
    sources = list(dict.fromkeys(failure.source for failure in failures))
    if files + len(sources) < 2:
        return
    typer.echo(f"{len(sources)} not, or not wholly, in the output:", err=True)
    for source in sources:
        typer.echo(f"  {source}", err=True)
