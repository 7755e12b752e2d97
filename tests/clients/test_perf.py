"""clients/perf: the real perf_analyzer against a real Triton server, and what it says, read."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farpose.benchmarks.machine import this_machine
from farpose.package_folders import default_folder
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT, missing

PERF = ROOT / "clients" / "perf"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the modules of clients/perf define, by module."""
    monkeypatch.syspath_prepend(PERF)
    before = set(sys.modules)
    names = ("analyzer", "measure", "inputs", "report")
    modules = {name: runpy.run_path(str(PERF / f"{name}.py")) for name in names}
    for name in names:
        if name not in before:
            sys.modules.pop(name, None)
    return modules


@pytest.fixture(scope="module")
def analyzer() -> None:
    """Skip where perf_analyzer cannot run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PERF)
        module = runpy.run_path(str(PERF / "analyzer.py"))
    try:
        assert module["prepare"](default_folder()).version() == "2.47.0"
    except module["AnalyzerUnavailableError"] as error:
        missing(f"no perf_analyzer: {error}")


def run(output: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PERF / "run.py", "--output", output, *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def one_picture(bus: Path) -> Path:
    """A folder with the demo picture."""
    return bus.parent


@pytest.mark.usefixtures("analyzer")
def test_a_short_run_measures_and_writes_everything(
    triton: TritonServer, one_picture: Path, tmp_path: Path
):
    url = f"{triton.host}:{triton.ports.grpc}"
    done = run(
        *(tmp_path, "--url", url, "--models", "lowres_pose", "--pictures", one_picture),
        *("--concurrency", 2, "--shares", 0.5, "--minutes", 0.12),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "perf.csv").open() as file:
        closed, poisson = csv.DictReader(file)
    assert (closed["kind"], closed["value"], closed["model"]) == ("concurrency", "2", "lowres_pose")
    assert int(closed["batch"]) >= 3  # the people in the picture
    assert poisson["kind"] == "poisson"
    assert float(poisson["value"]) == pytest.approx(float(closed["throughput"]) / 2, rel=0.01)
    for row in (closed, poisson):
        assert int(row["requests"]) > 0 and (row["failed"], row["error"]) == ("0", "")
        p50, p90, p95, p99 = (float(row[f"p{q}"]) for q in (50, 90, 95, 99))
        assert 0 < p50 <= p90 <= p95 <= p99
        assert row["processor"] and row["perf_analyzer"] == "2.47.0"
        assert row["server"].startswith("Triton 2.")
        assert f"1 pictures, with {row['batch']} people" in row["mix"]
    page = (tmp_path / "perf.md").read_text()
    assert f"`lowres_pose`, {closed['batch']} in a request" in page
    assert "0 failed requests" in page
    assert (tmp_path / "perf.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("analyzer")
def test_a_failed_request_is_reported(
    triton: TritonServer, bus: Path, tmp_path: Path, scripts: dict[str, dict[str, Any]]
):
    measure, inputs = scripts["measure"], scripts["inputs"]
    mix = inputs["Mix"]((b"no picture",), (0,), np.zeros((0, 64, 64, 3), np.uint8), 1)
    path = inputs["write_inputs"](mix, "pose_pipeline", "lowres_pose", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PERF)
        program = runpy.run_path(str(PERF / "analyzer.py"))["prepare"](default_folder())
    load = measure["Load"]("pose_pipeline", 1, "concurrency", 1)
    url = f"{triton.host}:{triton.ports.grpc}"
    with pytest.raises(measure["AnalyzerError"], match="ImageError: the bytes are not a picture"):
        measure["measure"](program, load, url, path, 0.5)


def test_nothing_is_measured_without_a_server_or_people(tmp_path: Path, one_picture: Path):
    done = run(tmp_path, "--url", "127.0.0.1:1", "--pictures", one_picture)
    assert done.returncode == 1
    assert "error: no Triton server answers at 127.0.0.1:1" in done.stderr
    empty = run(tmp_path, "--url", "127.0.0.1:1", "--pictures", tmp_path)
    assert empty.returncode == 1
    assert f"error: no *.jpg in {tmp_path}" in empty.stderr


def test_what_to_install_is_said_where_apt_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    module = runpy.run_path(str(PERF / "analyzer.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(module["AnalyzerUnavailableError"], match="apt install libb64-0d"):
        module["_unpack_library"](tmp_path)


REPORT = """Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,\
Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,\
p90 latency,p95 latency,p99 latency,Avg latency,request/response,response wait
2,400,29,938,1500,50,20000,250,5,16000,30000,31000,114000,20900,34,20952
"""
OUTPUT = """  Pass [1] throughput: 900 infer/sec. Avg latency: 1 usec (std 1 usec).
  Pass [2] throughput: 400 infer/sec. Avg latency: 1 usec (std 1 usec).
  Pass [3] throughput: 500 infer/sec. Avg latency: 1 usec (std 1 usec).
  Pass [4] throughput: 480 infer/sec. Avg latency: 1 usec (std 1 usec).
    Request count: 300
    [WARNING] Perf Analyzer was not able to keep up with the desired request rate. 6.25% of the \
requests were delayed.
  Server:
    Inference count: 1200
"""


def test_the_report_is_read_in_requests_and_milliseconds(scripts: dict[str, dict[str, Any]]):
    measured = scripts["measure"]["parse"](REPORT, OUTPUT, batch=4)
    assert (measured.requests, measured.throughput) == (300, 100)
    assert (measured.p50, measured.p90, measured.p95, measured.p99) == (16, 30, 31, 114)
    assert (measured.queue, measured.compute, measured.mean) == (1.5, 20.3, 20.9)
    assert measured.spread == pytest.approx(0.25)  # of the last three windows
    assert measured.delayed == 0.0625


@pytest.mark.parametrize(("report", "output"), [("", OUTPUT), (REPORT, ""), ("a,b\n1,2\n", OUTPUT)])
def test_a_report_that_lacks_something_is_an_error(
    scripts: dict[str, dict[str, Any]], report: str, output: str
):
    with pytest.raises(scripts["measure"]["AnalyzerError"], match="not understood"):
        scripts["measure"]["parse"](report, output, 1)


def test_arrivals_have_the_rate_and_are_random(scripts: dict[str, dict[str, Any]]):
    gaps = np.array(scripts["measure"]["intervals"](40, 15)) / 1e6
    assert len(gaps) == 600
    assert gaps.sum() == pytest.approx(15, rel=1e-3)
    # Exponential: as much deviation as mean, and a share of exp(-1) longer than the mean.
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.15)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1), abs=0.06)


def test_batches_are_those_of_middling_and_full_frames(scripts: dict[str, dict[str, Any]]):
    mix = scripts["inputs"]["Mix"]
    crops = np.zeros((0, 64, 64, 3), np.uint8)
    people = (0, 0, 1, 2, 3, 4, 5, 6, 16)
    assert mix((b"",) * 9, people, crops, 9).batches() == [4, 6]
    assert mix((b"",) * 2, (4, 0), crops, 2).batches() == [4]


def test_failures_are_in_the_table_and_in_the_file(
    scripts: dict[str, dict[str, Any]], tmp_path: Path
):
    report = scripts["report"]
    rows = [
        report["Row"](report["Load"]("pose_pipeline", 1, "concurrency", 4), None, 3, "it | ended"),
        report["Row"](
            report["Load"]("pose_pipeline", 1, "poisson", 12.5),
            scripts["measure"]["parse"](REPORT, OUTPUT, 4),
            0,
        ),
    ]
    setting = report["Setting"](this_machine(), "Triton 2.0", "2.47.0", 1.0, "a mix", "make perf")
    page = report["markdown"](rows, setting, "perf.png")
    assert "2 loads, 3 failed requests, 1 loads without a measurement." in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {13}
    assert table[2].startswith("| concurrency 4 | not measured: it / ended |")
    assert table[2].endswith("| 3 |")
    assert table[3].startswith("| poisson 12.5/s | 300 | 100.0 | 16.0 | 30.0 | 31.0 | 114.0 |")
    report["write_csv"](rows, setting, tmp_path / "perf.csv")
    with (tmp_path / "perf.csv").open() as file:
        failed, measured = csv.DictReader(file)
    assert (failed["failed"], failed["error"], failed["p50"]) == ("3", "it | ended", "")
    assert (measured["failed"], measured["p50"], measured["mix"]) == ("0", "16.0", "a mix")
