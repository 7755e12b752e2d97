"""The measurements as a CSV file and as a page of tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from measure import CLOSED, WINDOWS, Load, Measured

from farpose.benchmarks.machine import Machine

COLUMNS = (
    *("load", "requests", "requests/s", "p50", "p90", "p95", "p99"),
    *("queue", "model", "spread", "late", "failed"),
)


@dataclass(frozen=True)
class Row:
    """One load, and what became of it."""

    load: Load
    measured: Measured | None
    """None where a request failed."""

    failed: int
    """Requests that failed, as the server counts them."""

    error: str = ""
    """Why there is nothing measured."""


@dataclass(frozen=True)
class Setting:
    """What all measurements have in common."""

    machine: Machine
    """That perf_analyzer runs on."""

    server: str
    """Which Triton, and where."""

    analyzer: str
    """Version of perf_analyzer."""

    window: float
    """Seconds."""

    mix: str
    command: str


def write_csv(rows: Sequence[Row], setting: Setting, path: Path) -> None:
    """One line per load; times in milliseconds, rates per second."""
    common = {
        "window_s": round(setting.window, 2),
        "processor": setting.machine.processor,
        "cores": setting.machine.cores,
        "server": setting.server,
        "perf_analyzer": setting.analyzer,
        "versions": " ".join(f"{k}={v}" for k, v in setting.machine.versions.items()),
        "mix": setting.mix,
    }
    measured = list(Measured.__dataclass_fields__)
    names = [*Load.__dataclass_fields__, *measured, "failed", "error", *common]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {} if row.measured is None else asdict(row.measured)
            rounded = {
                k: round(v, 4) for k, v in (asdict(row.load) | values).items() if k in values
            }
            writer.writerow(
                asdict(row.load) | rounded | {"failed": row.failed, "error": row.error} | common
            )


def markdown(rows: Sequence[Row], setting: Setting, plot: str) -> str:
    """The page."""
    failed = sum(row.failed for row in rows)
    missing = sum(row.measured is None for row in rows)
    lines = [
        "# Load on Triton",
        "",
        f"Made by `{setting.command}`. {setting.machine}. {setting.server}; perf_analyzer "
        f"{setting.analyzer} over gRPC. Input: {setting.mix}.",
        "",
        f"Each load is measured over {WINDOWS} windows of {setting.window:.1f} s; `spread` is the "
        "throughput of the fastest window over that of the slowest, less one. Latency is from "
        "sending a request to its answer, in milliseconds, seen by the caller; `queue` and `model` "
        "are the server's means. `concurrency` keeps so many requests under way. `poisson` sends "
        "at random moments at a mean rate, whether the others are answered or not: a share of the "
        "largest throughput under concurrency. `late` requests were sent behind that schedule.",
        "",
        f"{len(rows)} loads, {failed} failed requests, {missing} loads without a measurement.",
        "",
        f"![Latency over throughput]({plot})",
    ]
    for (model, batch), group in groupby(rows, lambda row: (row.load.model, row.load.batch)):
        lines += ["", f"## `{model}`" + (f", {batch} in a request" if batch > 1 else ""), ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [_line(row) for row in group]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    load = row.load
    name = f"{load.kind} {load.value:.0f}" if load.kind == CLOSED else f"poisson {load.value:.1f}/s"
    m = row.measured
    if m is None:
        cells = ["not measured: " + row.error.replace("|", "/"), *[""] * (len(COLUMNS) - 3)]
    else:
        times = (m.p50, m.p90, m.p95, m.p99, m.queue, m.compute)
        cells = [str(m.requests), f"{m.throughput:.1f}", *(f"{time:.1f}" for time in times)]
        cells += [f"{m.spread:.0%}", f"{m.delayed:.0%}"]
    return f"| {name} | {' | '.join(cells)} | {row.failed} |"
