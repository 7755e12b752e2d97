"""One run of perf_analyzer: one model under one load."""

from __future__ import annotations

import csv
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from analyzer import Analyzer

WINDOWS = 3
"""perf_analyzer reports the mean of this many windows. Their spread is reported beside it: asked to
wait for a steady machine instead, it would report nothing of an unsteady one."""

STRETCH = 1.2
"""perf_analyzer makes a window this much longer than it is told."""

STARTING = 1.5
"""Seconds to read the inputs and to connect, outside of the windows."""

CLOSED = "concurrency"
POISSON = "poisson"


@dataclass(frozen=True)
class Load:
    """What is sent."""

    model: str
    batch: int
    """Crops or pictures in a request."""

    kind: str
    """`concurrency`: so many requests are always under way. `poisson`: so many are sent per second
    in the mean, at random moments, whether the others are answered or not."""

    value: float

    def __str__(self) -> str:
        per_second = "/s" if self.kind == POISSON else ""
        return f"{self.model}, batch {self.batch}, {self.kind} {self.value:g}{per_second}"


@dataclass(frozen=True)
class Measured:
    """What perf_analyzer reports; times in milliseconds, from sending to the answer."""

    requests: int
    """That were answered."""

    throughput: float
    """Requests answered per second."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    queue: float
    """Mean time in the server's queue."""

    compute: float
    """Mean time in the model, with copying in and out."""

    spread: float
    """Throughput of the fastest window over that of the slowest, less 1."""

    delayed: float
    """Share of requests that were sent later than the Poisson process says."""


class AnalyzerError(RuntimeError):
    """perf_analyzer reports nothing: a request failed, or it did not end. The message has why."""


def measure(analyzer: Analyzer, load: Load, url: str, inputs: Path, window: float) -> Measured:
    """Put a load on a server.

    Args:
        analyzer: the program.
        load: what to send.
        url: `HOST:PORT` of the server's gRPC endpoint.
        inputs: for `--input-data`.
        window: seconds.

    Raises:
        AnalyzerError: see there. perf_analyzer stops at the first request that fails.
    """
    report = inputs.with_suffix(".csv")
    report.unlink(missing_ok=True)
    command = [str(analyzer.program), "-m", load.model, "-b", str(load.batch), "-u", url]
    command += ["-i", "grpc", "--async", "--input-data", str(inputs), "-f", str(report), "-v"]
    command += ["--verbose-csv", "--measurement-interval", str(round(window / STRETCH * 1e3))]
    command += ["--max-trials", str(WINDOWS), "--stability-percentage", "100000"]
    if load.kind == POISSON:
        moments = inputs.with_suffix(".intervals")
        moments.write_text("".join(f"{gap}\n" for gap in intervals(load.value, WINDOWS * window)))
        command += ["--request-intervals", str(moments)]
    else:
        command += ["--concurrency-range", f"{load.value:.0f}"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=analyzer.variables(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=60 + 4 * WINDOWS * window,
        )
    except subprocess.TimeoutExpired as error:
        raise AnalyzerError(f"perf_analyzer did not end in {error.timeout:.0f} s") from error
    if done.returncode or not report.is_file():
        raise AnalyzerError(_complaint(done.stderr or done.stdout, done.returncode))
    return parse(report.read_text(), done.stdout, load.batch)


def intervals(rate: float, seconds: float) -> list[int]:
    """Microseconds between the requests of a Poisson process, of exactly this mean rate.

    They are made here: the sequence that `--request-distribution poisson` draws is the same every
    time, and its first seconds are a fifth below the rate that was asked for. Given how many
    requests there are, those of a Poisson process lie anywhere in the time with equal chance.
    """
    number = max(1, round(rate * seconds))
    gaps = np.random.default_rng(0).exponential(size=number)
    return [max(1, round(gap)) for gap in gaps * (number / rate * 1e6 / gaps.sum())]


def parse(report: str, output: str, batch: int) -> Measured:
    """What a CSV report and the text beside it say of one load.

    Raises:
        AnalyzerError: something is missing in them.
    """
    try:
        (row,) = csv.DictReader(report.splitlines())
        count = re.findall(r"^    Request count: (\d+)", output, re.MULTILINE)
        windows = re.findall(r"^  Pass \[\d+\] throughput: ([\d.e+]+)", output, re.MULTILINE)
        rates = [float(rate) for rate in windows[-WINDOWS:]]
        delayed = re.findall(r"([\d.]+)% of the requests were delayed", output)
        compute = sum(float(row[f"Server Compute {part}"]) for part in ("Input", "Infer", "Output"))
        return Measured(
            requests=int(count[-1]),
            throughput=float(row["Inferences/Second"]) / batch,
            mean=float(row["Avg latency"]) / 1e3,
            p50=float(row["p50 latency"]) / 1e3,
            p90=float(row["p90 latency"]) / 1e3,
            p95=float(row["p95 latency"]) / 1e3,
            p99=float(row["p99 latency"]) / 1e3,
            queue=float(row["Server Queue"]) / 1e3,
            compute=compute / 1e3,
            spread=max(rates) / min(rates) - 1,
            delayed=float(delayed[-1]) / 100 if delayed else 0.0,
        )
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise AnalyzerError(
            f"the report of perf_analyzer is not understood ({error!r}): {report.strip()[-300:]}"
        ) from error


def _complaint(text: str, status: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # The threads of perf_analyzer complain one by one, of the same thing.
    errors = [line for line in lines if "had error" in line] or lines[-1:]
    return f"perf_analyzer ended with status {status}: {errors[0] if errors else 'no message'}"
