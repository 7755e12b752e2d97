"""How much faster an archive is done by more workers of a Ray cluster on this machine."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from farpose.archive.on_cluster import FileReport, OpenPoseWork
from farpose.cluster.connection import Cluster
from farpose.cluster.driver import Job
from farpose.cluster.progress import ClusterProgress


class ScalingError(ValueError):
    """A file could not be done, so a time would mean nothing."""


@dataclass(frozen=True)
class Row:
    """The archive with one number of workers."""

    workers: int
    """Of Ray; 0 for this process without Ray."""

    threads: int
    """Of each model in each worker."""

    frames: int
    load_seconds: float
    """From the start of the job until the first worker has its models."""

    seconds: float
    """From then to the last file's results."""

    result_bytes: int
    """Of all results, as workers send them to the driver."""

    cluster_seconds: float = 0.0
    """Until the cluster stood."""

    @property
    def rate(self) -> float:
        """Frames per second once models are loaded."""
        return self.frames / self.seconds


def measure(
    cluster: Cluster, files: Sequence[Path], work: OpenPoseWork, cluster_seconds: float = 0.0
) -> Row:
    """Time a job on a cluster.

    Raises:
        ScalingError: a file failed.
        ClusterError: no worker can start.
    """
    frames, size, ready = 0, 0, 0.0

    def count(_: int, content: bytes, report: FileReport) -> None:
        nonlocal frames, size
        frames += report.frames
        size += len(content)

    def watch(progress: ClusterProgress) -> None:
        nonlocal ready
        if progress.workers and not ready:
            ready = time.perf_counter()

    start = time.perf_counter()
    failures = Job(cluster, work, count, watch).run([file.absolute() for file in files])
    end = time.perf_counter()
    if failures:
        raise ScalingError(str(failures[0]))
    return Row(
        cluster.workers,
        cluster.settings.threads,
        frames,
        ready - start,
        end - ready,
        size,
        cluster_seconds,
    )


def measure_alone(files: Sequence[Path], work: OpenPoseWork, threads: int) -> Row:
    """Time the same work in this process.

    Raises:
        SourceError: a file cannot be read.
    """
    start = time.perf_counter()
    with (
        contextlib.closing(work(threads)) as opened,
        tempfile.TemporaryDirectory(prefix="farpose-partials-") as folder,
    ):
        ready = time.perf_counter()
        frames = size = 0
        for file in files:
            partial = Path(folder) / "partial"
            frames += opened(file, partial).frames
            size += partial.stat().st_size
        return Row(0, threads, frames, ready - start, time.perf_counter() - ready, size)


def table(rows: Sequence[Row]) -> str:
    """Markdown; the speed-up is over the row of one worker, if there is one."""
    one = next((row for row in rows if row.workers == 1), None)
    lines = [
        "| workers | threads each | frames | start of the cluster, s | models loaded, s | work, s "
        "| frames/s | speed-up | per worker | result bytes per frame |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        faster = row.rate / one.rate if one else None
        cells = [
            str(row.workers) if row.workers else "without Ray",
            str(row.threads),
            str(row.frames),
            f"{row.cluster_seconds:.1f}" if row.workers else "",
            f"{row.load_seconds:.1f}",
            f"{row.seconds:.1f}",
            f"{row.rate:.1f}",
            f"{faster:.2f}" if faster else "",
            f"{faster / row.workers:.0%}" if faster and row.workers else "",
            f"{row.result_bytes / row.frames:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
