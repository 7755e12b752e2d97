"""`farpose bench serving`: the same cameras before each way to serve, in one run."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from farpose.benchmarks.machine import this_machine
from farpose.cores import usable_cores
from farpose.images import read_header
from farpose_serving.benchmarks.cameras import Connect, Window, over_grpc, over_http, run_cameras
from farpose_serving.benchmarks.servers import Server, free_port

WARM_UP_SECONDS: Final = 2.0
"""At most, and never longer than what is measured then."""

ROUNDS: Final = 3
"""Each way is measured so often, in turns, so that what else the machine does meets all."""

EMBEDDED: Final = "HTTP, embedded engine"
MODELS: Final = "HTTP, Triton's models"
SHARED: Final = "HTTP, Triton's models, shared memory"
PIPELINE: Final = "HTTP, Triton's pose_pipeline"
DIRECT: Final = "gRPC, Triton's pose_pipeline"


@dataclass(frozen=True)
class Way:
    """One way to have pictures answered."""

    connect: Connect
    servers: tuple[Server, ...]
    """Whose processor time it takes."""


@dataclass(frozen=True)
class Row:
    """One way with so many cameras."""

    way: str
    cameras: int
    frames: int
    frames_per_second: float
    people_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_share: float
    """Of all cores, by the servers; the cameras run on the same machine and are not counted."""


class PicturesError(ValueError):
    """The folder has no pictures to send."""


def serving(
    images: Annotated[Path, typer.Argument(help="A folder of JPEG pictures to send.")],
    cameras: Annotated[
        list[int] | None, typer.Option(min=1, help="At once; 1, 4 and 16 if not given.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="For each way and number.")] = 30.0,
    pictures: Annotated[int, typer.Option(min=1, help="The first so many are sent.")] = 16,
    output: Annotated[
        Path | None, typer.Option(help="A folder for serving.csv and serving.md.")
    ] = None,
) -> None:
    """Frames per second and latency of each engine of the service, beside direct gRPC."""
    sent = read_pictures(images, pictures)
    say = typer.echo
    say(f"{this_machine()}")
    rows = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as ways:
        per_frame = _people_per_frame(ways[EMBEDDED], sent)
        say(f"{len(sent)} pictures, {per_frame}")
        for number in cameras or (1, 4, 16):
            for row in measure(ways, sent, number, seconds):
                say(_line(row))
                rows.append(row)
    text = report(rows, per_frame, len(sent), seconds)
    say(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "serving.md").write_text(text)
        with (output / "serving.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, [field.name for field in fields(Row)])
            table.writeheader()
            table.writerows(map(asdict, rows))


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Way]]:
    """All ways, with their servers started; they write their messages into the folder."""
    http_port, grpc_port, metrics_port = (free_port() for _ in range(3))
    grpc_url = f"127.0.0.1:{grpc_port}"
    engines = {
        EMBEDDED: ["onnxruntime"],
        MODELS: ["triton", "--triton-url", grpc_url],
        SHARED: ["triton", "--triton-url", grpc_url],
        PIPELINE: ["triton-pipeline", "--triton-url", grpc_url],
    }
    ports = [("http", http_port), ("grpc", grpc_port), ("metrics", metrics_port)]
    with ExitStack() as servers:
        triton = servers.enter_context(
            Server(
                ["triton", *(f"--{name}-port={port}" for name, port in ports)],
                f"http://127.0.0.1:{http_port}/v2/health/ready",
                folder / "triton.log",
            )
        )
        ways: dict[str, Way] = {}
        for name, engine in engines.items():
            url = f"http://127.0.0.1:{free_port()}"
            service = servers.enter_context(
                Server(
                    ["serve", "--port", url.rpartition(":")[2], "--engine", *engine],
                    f"{url}/health/ready",
                    folder / f"{len(ways)}.log",
                    {"FARPOSE_TRITON_SHARED_MEMORY": str(name == SHARED)},
                )
            )
            behind = (service,) if name == EMBEDDED else (service, triton)
            ways[name] = Way(over_http(url), behind)
        ways[DIRECT] = Way(over_grpc(grpc_url), (triton,))
        yield ways


def measure(
    ways: Mapping[str, Way], pictures: list[bytes], cameras: int, seconds: float
) -> list[Row]:
    """Each way with so many cameras."""
    windows: dict[str, list[Window]] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    turn = seconds / ROUNDS
    warm_up = min(WARM_UP_SECONDS, turn)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            before, started = _cpu_seconds(way), time.perf_counter()
            windows[name].append(run_cameras(way.connect, pictures, cameras, turn, warm_up))
            # The warm-up and the frames that were still in work at the end are counted in both.
            spent[name] += (_cpu_seconds(way) - before) / (time.perf_counter() - started)
    cores = usable_cores()
    return [
        _row(name, cameras, found, spent[name] / ROUNDS / cores) for name, found in windows.items()
    ]


def _cpu_seconds(way: Way) -> float:
    return sum(server.cpu_seconds() for server in way.servers)


def report(rows: list[Row], per_frame: str, pictures: int, seconds: float) -> str:
    """The table in Markdown, and how the ways through Triton compare with direct gRPC."""
    lines = [
        f"{this_machine()}. {pictures} pictures, {per_frame}; every camera sends its "
        f"next frame when the last one is answered. {seconds:g} s for each line, in {ROUNDS} "
        "turns.",
        "",
        "| cameras | way | frames/s | people/s | p50 ms | p99 ms | CPU of the servers |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.cameras} | {row.way} | {row.frames_per_second:.1f} | {row.people_per_second:.1f} "
        f"| {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.cpu_share:.0%} |"
        for row in rows
    ]
    lines.append("")
    for direct in (row for row in rows if row.way == DIRECT):
        for row in rows:
            if row.cameras == direct.cameras and row.way in (MODELS, SHARED, PIPELINE):
                lines.append(
                    f"- {row.cameras} cameras, {row.way}: "
                    f"{row.p50_ms / direct.p50_ms:.2f} of direct gRPC's p50, "
                    f"{row.frames_per_second / direct.frames_per_second:.2f} of its frames/s"
                )
    return "\n".join(lines) + "\n"


def _row(way: str, cameras: int, windows: list[Window], cpu_share: float) -> Row:
    seconds = sum(window.seconds for window in windows)
    latencies = np.concatenate([window.latencies for window in windows])
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return Row(
        way=way,
        cameras=cameras,
        frames=len(latencies),
        frames_per_second=round(len(latencies) / seconds, 2),
        people_per_second=round(sum(window.people for window in windows) / seconds, 2),
        p50_ms=round(float(p50), 2),
        p99_ms=round(float(p99), 2),
        cpu_share=round(cpu_share, 3),
    )


def _line(row: Row) -> str:
    return (
        f"{row.cameras:>3} cameras  {row.way:<37} {row.frames_per_second:>7.1f} frames/s "
        f"{row.people_per_second:>7.1f} people/s  p50 {row.p50_ms:>7.1f}  "
        f"p99 {row.p99_ms:>7.1f} ms  CPU {row.cpu_share:.0%}"
    )


def read_pictures(folder: Path, count: int) -> list[bytes]:
    """The first JPEG pictures of a folder; `PicturesError` if there are none."""
    if not folder.is_dir():
        raise PicturesError(f"{folder}: no such folder")
    found = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:count]]
    if not found:
        raise PicturesError(f"{folder}: holds no .jpg pictures")
    for picture in found:
        read_header(picture)
    return found


def _people_per_frame(way: Way, pictures: list[bytes]) -> str:
    with way.connect() as send:
        counts = [send(picture) for picture in pictures]
    return f"{min(counts)} to {max(counts)} people in each, {np.mean(counts):.1f} on average"
