"""Streams many cameras at once to `pose_pipeline` of a Triton server, over one connection.

    python clients/grpc/cameras.py gate.mp4 yard.mp4 pictures/ --rate 15 --url localhost:8001

Every source is a camera: a video, a picture, or a folder of pictures, repeated until the time is
over. A camera has at most `--outstanding` frames under way. With `--rate` it gives that many frames
per second, as a real one does, and a frame that finds no room is dropped and counted; without, it
waits for room. Latency is from the moment a frame is sent until its people are there.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pose_pipeline
from frames import SourceError, frames_of
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

TIMEOUT = 10.0
"""Seconds to wait for an answer; older people are of no use to a camera."""


@dataclass
class Report:
    """What became of the frames of one camera."""

    name: str
    milliseconds: list[float] = field(default_factory=list)
    """Of every frame that was answered."""

    people: int = 0
    dropped: int = 0
    errors: list[str] = field(default_factory=list)
    """One for every frame that was refused or not answered in time."""


@dataclass
class Camera:
    """One camera that is being sent.

    Args:
        client: shared by all cameras.
        frames: encoded pictures.
        report: is filled in.
        options: JSON, of every request.
        outstanding: frames that may be under way at once.
    """

    client: InferenceServerClient
    frames: Iterator[bytes]
    report: Report
    options: str
    outstanding: int

    async def stream(self, rate: float | None, end: float) -> None:
        """Send frames until this moment of the event loop's clock, and wait for the last answers.

        Raises:
            SourceError: there is no frame to send.
        """
        now = asyncio.get_running_loop().time
        room = asyncio.Semaphore(self.outstanding)
        due = now()
        async with asyncio.TaskGroup() as under_way:
            while now() < end:
                # In a thread: reading and encoding would hold up the answers of all cameras.
                frame = await asyncio.to_thread(next, self.frames)
                if rate is not None:
                    due += 1 / rate
                    await asyncio.sleep(due - now())
                    if room.locked():
                        self.report.dropped += 1
                        continue
                await room.acquire()
                under_way.create_task(self._send(frame, room))

    async def _send(self, frame: bytes, room: asyncio.Semaphore) -> None:
        start = time.perf_counter()
        try:
            inputs = pose_pipeline.request(frame, self.options)
            result = await self.client.infer(pose_pipeline.MODEL, inputs, client_timeout=TIMEOUT)
        except InferenceServerException as error:
            self.report.errors.append(str(error))
        else:
            self.report.milliseconds.append((time.perf_counter() - start) * 1e3)
            self.report.people += len(pose_pipeline.people(result).boxes)
        finally:
            room.release()


def table(reports: list[Report], seconds: float) -> str:
    """A line for every camera, and one for all of them."""
    lines = [
        f"{'camera':<28} {'frames/s':>8} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8} "
        f"{'dropped':>8} {'failed':>7} {'people/frame':>13}"
    ]
    everything = Report("all")
    for report in reports:
        everything.milliseconds += report.milliseconds
        everything.people += report.people
        everything.dropped += report.dropped
        everything.errors += report.errors
    for report in (*reports, everything):
        answered = len(report.milliseconds)
        times = "".join(f" {value:>8.1f}" for value in _summary(report.milliseconds))
        lines.append(
            f"{report.name[-28:]:<28} {answered / seconds:>8.1f}{times} {report.dropped:>8} "
            f"{len(report.errors):>7} {report.people / max(answered, 1):>13.1f}"
        )
    return "\n".join(lines)


def _summary(milliseconds: list[float]) -> tuple[float, float, float]:
    """Median, 95th percentile and largest; nan where nothing was answered."""
    if len(milliseconds) < 2:
        return ((milliseconds or [float("nan")])[0],) * 3
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return cuts[49], cuts[94], max(milliseconds)


async def run(arguments: argparse.Namespace) -> tuple[list[Report], float]:
    """The reports of all cameras, and the seconds that it took.

    Raises:
        SourceError: of the first camera that has no frames; the others are stopped.
    """
    loop = asyncio.get_running_loop()
    reports = [Report(str(source)) for source in arguments.sources]
    async with InferenceServerClient(arguments.url) as client:
        cameras = [
            Camera(client, frames_of(source), report, arguments.options, arguments.outstanding)
            for source, report in zip(arguments.sources, reports, strict=True)
        ]
        start = loop.time()
        end = start + arguments.seconds
        streams = [asyncio.create_task(camera.stream(arguments.rate, end)) for camera in cameras]
        try:
            await asyncio.gather(*streams)
        finally:
            for stream in streams:
                stream.cancel()
        return reports, loop.time() - start


def main() -> int:
    """Print the table; 1 if a frame was not answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sources", type=Path, nargs="+", help="video, picture or folder: a camera")
    parser.add_argument("--url", default="localhost:8001", help="HOST:PORT of the gRPC endpoint")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, help="frames per second of a camera")
    parser.add_argument("--outstanding", type=int, default=2, help="frames under way per camera")
    parser.add_argument("--options", default="{}", metavar="JSON", help="options of the requests")
    arguments = parser.parse_args()
    if arguments.outstanding < 1 or (arguments.rate is not None and arguments.rate <= 0):
        parser.error("--outstanding and --rate are larger than 0")
    reports: list[Report] = []
    seconds = 0.0
    try:
        reports, seconds = asyncio.run(run(arguments))
    except* SourceError as group:
        print(f"error: {group.exceptions[0]}", file=sys.stderr)
    if not reports:
        return 1
    print(table(reports, seconds))
    errors = [f"{report.name}: {error}" for report in reports for error in report.errors]
    if errors:
        print(f"error: {len(errors)} frames failed; the first: {errors[0]}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
