"""Measures a Triton server under load with NVIDIA's perf_analyzer.

    make perf
    python clients/perf/run.py --minutes 8
    python clients/perf/run.py --url gpu-box:8001 --models pose_pipeline --output /tmp/gpu-box

Without `--url` it starts `farpose triton` and stops it at the end. For every model it raises the
number of concurrent requests, then sends at random moments (Poisson arrivals) at shares of the
throughput it has seen. It writes perf.csv, perf.md and perf.png. The exit status is 1 if a request
failed or a load could not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import server
from analyzer import Analyzer, AnalyzerUnavailableError, prepare
from inputs import InputError, Mix, mix_of, write_inputs
from measure import CLOSED, POISSON, STARTING, WINDOWS, AnalyzerError, Load, measure
from plot import draw
from report import Row, Setting, markdown, write_csv

from farpose.benchmarks.machine import this_machine
from farpose.engine import EngineError
from farpose.images import ImageError
from farpose.package_folders import InstallError, default_folder

ROOT = Path(__file__).parents[2]
MODELS = ("pose_pipeline", "person_detector", "lowres_pose")
CONCURRENCY = (1, 2, 4, 8, 16)
SHARES = (0.5, 0.8, 0.95)


class Sweep:
    """All loads on one server."""

    def __init__(self, analyzer: Analyzer, url: str, mix: Mix, folder: Path, window: float) -> None:
        self._analyzer, self._url, self._window = analyzer, url, window
        self._mix, self._folder = mix, folder
        self.rows: list[Row] = []

    def model(
        self, name: str, pose_model: str, concurrency: Sequence[int], shares: Sequence[float]
    ) -> None:
        """Measure one model, at every batch size that the mix has for it.

        Raises:
            InputError: there is no input for it.
            ServerError: the server does not answer, or has no such model.
        """
        inputs = write_inputs(self._mix, name, pose_model, self._folder)
        for batch in self._mix.batches() if name == pose_model else [1]:
            rows = [self._row(Load(name, batch, CLOSED, value), inputs) for value in concurrency]
            reached = max((row.measured.throughput for row in rows if row.measured), default=0.0)
            if not reached:
                print(f"{name}, batch {batch}: no arrivals, as nothing was answered", flush=True)
                continue
            for share in shares:
                self._row(Load(name, batch, POISSON, round(share * reached, 3)), inputs)

    def _row(self, load: Load, inputs: Path) -> Row:
        before = server.failures(self._url, load.model)
        measured, error = None, ""
        try:
            measured = measure(self._analyzer, load, self._url, inputs, self._window)
        except AnalyzerError as failure:
            error = str(failure)
        row = Row(load, measured, server.failures(self._url, load.model) - before, error)
        self.rows.append(row)
        said = error or (measured and f"{measured.throughput:.1f}/s, p95 {measured.p95:.1f} ms")
        print(f"{load}: {said}" + (f", {row.failed} FAILED" if row.failed else ""), flush=True)
        return row


def window_seconds(minutes: float, loads: int) -> float:
    """Length of a window, so that all loads take about that long.

    Raises:
        InputError: the windows would be shorter than a fifth of a second.
    """
    window = (minutes * 60 / loads - STARTING) / WINDOWS
    if window < 0.2:
        raise InputError(
            f"{minutes:g} minutes are too few for {loads} loads: give more, or fewer loads"
        )
    return window


def pictures_of(folder: Path | None) -> list[bytes]:
    """Those of a folder; else those of FARPOSE_DATA and the demo's, as far as they are there.

    Raises:
        InputError: there are none.
    """
    data = Path(os.environ.get("FARPOSE_DATA", ROOT.parent / "shared" / "data"))
    paths = sorted((folder or data / "coco_mini" / "val").glob("*.jpg"))
    if folder is None:
        paths += [path for path in [ROOT / "build" / "bus.jpg"] if path.is_file()]
    if not paths:
        raise InputError(
            f"no *.jpg in {folder or data}: give --pictures FOLDER, or fetch one with python "
            "clients/sample_picture.py build/bus.jpg"
        )
    return [path.read_bytes() for path in paths]


def run(arguments: argparse.Namespace, command: str) -> list[Row]:
    """Measure and write the files; the rows.

    Raises:
        AnalyzerUnavailableError: perf_analyzer cannot run here.
        ServerError: there is no server to measure.
        InputError: there is nothing to send, or too little time.
        EngineError: the server cannot run the models.
        ImageError: a picture cannot be read.
    """
    pictures = pictures_of(arguments.pictures)
    analyzer = prepare(default_folder())
    analyzer_version = analyzer.version()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farpose-perf-")))
        url = arguments.url or stack.enter_context(
            server.running(arguments.repository, folder / "server.log")
        )
        place = f"at {url}" if arguments.url else "on the same machine, sharing its cores"
        triton = f"Triton {server.version(url)} {place}"
        mix = mix_of(url, pictures, arguments.pose_model)
        series = sum(
            len(mix.batches()) if name == arguments.pose_model else 1 for name in arguments.models
        )
        loads = series * (len(arguments.concurrency) + len(arguments.shares))
        window = window_seconds(arguments.minutes, loads)
        print(f"{mix}; {loads} loads, windows of {window:.1f} s", flush=True)
        sweep = Sweep(analyzer, url, mix, folder, window)
        for name in arguments.models:
            sweep.model(name, arguments.pose_model, arguments.concurrency, arguments.shares)
    setting = Setting(this_machine(), triton, analyzer_version, window, str(mix), command)
    write_csv(sweep.rows, setting, output / "perf.csv")
    (output / "perf.md").write_text(markdown(sweep.rows, setting, "perf.png"))
    title = f"{setting.machine.processor}, {setting.machine.cores} cores; {triton}"
    draw(sweep.rows, title, output / "perf.png")
    return sweep.rows


def main() -> int:
    """Measure; 1 if a request failed or a load could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="HOST:PORT of a server's gRPC endpoint; starts one if absent")
    parser.add_argument("--repository", type=Path, help="of the server that is started")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--pose-model", default="lowres_pose", metavar="NAME")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="with JPEGs of people")
    parser.add_argument("--minutes", type=float, default=8, help="that all loads take together")
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCY, metavar="N")
    parser.add_argument(
        "--shares", type=float, nargs="*", default=SHARES, help="of the throughput, as Poisson rate"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance")
    arguments = parser.parse_args()
    command = shlex.join(["python", "clients/perf/run.py", *sys.argv[1:]])
    try:
        rows = run(arguments, command)
    except (
        AnalyzerUnavailableError,
        InstallError,
        server.ServerError,
        InputError,
        EngineError,
        ImageError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote perf.csv, perf.md and perf.png to {arguments.output}")
    return 1 if any(row.failed or row.measured is None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
