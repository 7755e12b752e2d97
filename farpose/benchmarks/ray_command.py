"""`farpose bench ray`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from farpose.archive.on_cluster import OpenPoseWork
from farpose.benchmarks.machine import this_machine
from farpose.benchmarks.ray_scaling import measure, measure_alone, table
from farpose.cluster.connection import ClusterSettings, connected
from farpose.options import PoseOptions
from farpose.outputs import atomic_file
from farpose.sources import files_of


def ray_scaling(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Pictures, videos, or folders.")
    ],
    workers: Annotated[
        list[int] | None, typer.Option(min=1, help="To compare; 1 and 2 if not given.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each model in each worker.")] = 1,
    copies: Annotated[
        int, typer.Option(min=1, help="Do every file so many times: many files share evenly.")
    ] = 8,
    detector_size: Annotated[
        int, typer.Option(min=128, max=1280, help="Longer side the detector sees.")
    ] = PoseOptions().detector_size,
    output: Annotated[Path | None, typer.Option(help="A Markdown file to write too.")] = None,
) -> None:
    """Frames per second with one and two workers of a Ray cluster on this machine."""
    files = [file for source in sources for file in files_of(source)] * copies
    work = OpenPoseWork(PoseOptions(detector_size=detector_size))
    machine = this_machine()
    rows = [measure_alone(files, work, n) for n in sorted({threads, machine.cores})]
    for number in workers or (1, 2):
        start = time.perf_counter()
        with connected(ClusterSettings("local", number, threads)) as cluster:
            rows.append(measure(cluster, files, work, time.perf_counter() - start))
    text = (
        f"# Workers of a Ray cluster\n\nMade by `farpose bench ray`. {machine}. "
        f"{len(files)} files ({copies} times {len(files) // copies}), detector at "
        f"{detector_size}. All workers share this machine's cores. Work is from the first worker "
        f"that has its models to the results of the last file.\n\n{table(rows)}\n"
    )
    typer.echo(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(output) as partial:
            partial.write_text(text)
