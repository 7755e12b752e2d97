"""How fast a clip goes from its file to a table, the models' share, and what memory does."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from farpose.archive.job import ArchiveJob
from farpose.archive.progress import ProgressLine
from farpose.archive.targets import Format, target_of
from farpose.cores import usable_cores
from farpose.options import PoseOptions
from farpose.sources import Frame

SETTLED: Final = 0.1
"""Memory is looked at after this share of the frames: buffers grow to their size before."""

_SAMPLE_SECONDS: Final = 1.0


class BenchmarkError(RuntimeError):
    """Something could not be timed; the message says what."""


@dataclass(frozen=True)
class ArchiveRun:
    """One run of `farpose predict` on a video, from its file to Parquet."""

    frames: int
    seconds: float
    """Of the whole job: the models are loaded, the table is in its place."""

    work_seconds: float
    """From the first frame done to the last."""

    processor_seconds: float
    """Of all threads of this process during the work."""

    model_seconds: float
    """What models took of that."""

    busy: float
    """Share of the work's time, over all copies of the models, in which they ran."""

    memory: Sequence[tuple[int, float]]
    """Frames that are done, and resident MiB."""

    @property
    def rate(self) -> float:
        """Frames per second, loading and merging included."""
        return self.frames / self.seconds

    @property
    def model_share(self) -> float:
        """Of the processor time, what models took."""
        return self.model_seconds / self.processor_seconds

    def growth(self, frames: float) -> float:
        """MiB by which memory grows over so many frames: the slope of a line through the samples.

        Raises:
            BenchmarkError: the run was too short for that.
        """
        samples = [(at, size) for at, size in self.memory if at >= SETTLED * self.frames]
        if len(samples) < 3:
            raise BenchmarkError(
                f"{len(samples)} samples of memory are too few: use a longer video"
            )
        at, sizes = np.array(samples, np.float64).T
        slope = np.polyfit(at, sizes, 1)[0]
        return float(slope * frames)


class _Watch(ProgressLine):
    """Counts frames, and samples times and memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__(files)
        self.runs: list[tuple[float, float]] = []
        self._before = 0
        self._processor = self.processor_seconds = 0.0
        self.frames = 0
        self.first = self.last = self._sampled = time.perf_counter()
        self.memory: list[tuple[int, float]] = []

    def frame(self, frame: Frame) -> None:
        """See `ProgressLine.frame`."""
        super().frame(frame)
        self.frames += 1
        self.last = time.perf_counter()
        if self.frames == 1:
            self.first, self._processor = self.last, time.process_time()
            self._before = len(self.runs)
        self.processor_seconds = time.process_time() - self._processor
        if self.last - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = self.last
            self.memory.append((self.frames, resident()))

    def ran(self, _: str, seconds: float, processor_seconds: float) -> None:
        """A model ran."""
        self.runs.append((seconds, processor_seconds))

    @property
    def runs_at_work(self) -> list[tuple[float, float]]:
        """Those since the first frame was done."""
        return self.runs[self._before :]


def measure(video: Path, options: PoseOptions) -> ArchiveRun:
    """Time a video from its file to a table.

    Raises:
        BenchmarkError: it could not be read to its end.
    """
    with tempfile.TemporaryDirectory(prefix="farpose-bench-") as folder:
        watch = _Watch([video])
        job = ArchiveJob(
            [video],
            target_of(f"{folder}/people.parquet", Format.FARPOSE, [video]),
            options,
            on_run=watch.ran,
        )
        start = time.perf_counter()
        failures = job.run(watch)
        seconds = time.perf_counter() - start
        watch.clear()
    if failures:
        raise BenchmarkError(str(failures[0]))
    work = watch.last - watch.first
    running = sum(seconds for seconds, _ in watch.runs_at_work)
    return ArchiveRun(
        watch.frames,
        seconds,
        work,
        watch.processor_seconds,
        sum(seconds for _, seconds in watch.runs_at_work),
        min(1.0, running / (work * usable_cores())) if work else 0.0,
        watch.memory,
    )


def loop(clip: Path, target: Path, minutes: float) -> float:
    """Repeat a clip's packets, without encoding them anew, for at least so long; the minutes.

    Raises:
        BenchmarkError: PyAV is not installed, or the clip cannot be repeated.
    """
    try:
        import av
    except ImportError as error:
        raise BenchmarkError(f"a long video is made with PyAV ({error}): pip install av") from error
    with av.open(str(clip)) as source, av.open(str(target), "w") as long:
        track = source.streams.video[0]
        copy = long.add_stream_from_template(track)
        if track.time_base is None or not track.duration:
            raise BenchmarkError(f"{clip}: does not say how long it is")
        length, base = int(track.duration), float(track.time_base)
        times = max(1, int(np.ceil(minutes * 60 / (length * base))))
        for i in range(times):
            source.seek(0)
            for packet in source.demux(track):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts += i * length
                packet.dts += i * length
                packet.stream = copy
                long.mux(packet)
    return times * length * base / 60


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


_PREDICT: Final = """
import json, sys, time
from ultralytics import YOLO, __version__
clip, size = sys.argv[1], int(sys.argv[2])
model = YOLO("yolo26n-pose.yaml")
settings = dict(imgsz=size, device="cpu", stream=True, save=False, verbose=False)
start, frames, people = time.perf_counter(), 0, 0
for result in model.predict(clip, **settings):
    frames += 1
    people += len(result.keypoints.data.cpu().numpy())
seconds = time.perf_counter() - start
print(json.dumps(dict(frames=frames, people=people, seconds=seconds, version=__version__)))
"""


@dataclass(frozen=True)
class OtherRun:
    """`ultralytics` on the same clip."""

    frames: int
    people: int
    """In all frames; random weights may find nobody, or somebody everywhere."""

    seconds: float
    version: str


def measure_ultralytics(python: Path, clip: Path, size: int) -> OtherRun:
    """Time `predict` with an untrained `yolo26n-pose` in an environment that has `ultralytics`.

    It runs in a process of its own: nothing of that package is part of Farpose.

    Raises:
        BenchmarkError: it did not run.
    """
    with tempfile.TemporaryDirectory(prefix="farpose-other-") as folder:
        environment = os.environ | {"YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": folder}
        done = subprocess.run(  # noqa: S603 (the caller names the interpreter)
            [python.absolute(), "-c", _PREDICT, clip.absolute(), str(size)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise BenchmarkError(f"{python}: ultralytics did not run: {last}")
    return OtherRun(**json.loads(done.stdout.strip().splitlines()[-1]))
