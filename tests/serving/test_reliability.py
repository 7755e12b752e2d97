"""Seconds of what `make load`, `make streams`, `make fuzz` and `make overhead` do for minutes."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from farpose_serving.benchmarks.mutations import MUTATIONS, encodings, mutated
from farpose_serving.benchmarks.reports import PageError, write_report
from tests.conftest import ROOT
from tests.serving.test_command import FARPOSE


def bench(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [FARPOSE, "bench", name, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def said(report: str, row: str) -> str:
    (line,) = [line for line in report.splitlines() if line.startswith(row)]
    return line[len(row) :].strip()


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "coco_mini/val"


def test_the_page_shows_what_was_measured_last():
    page = (ROOT / "docs/reliability.md").read_text()
    reports = {path.stem: path.read_text() for path in (ROOT / "docs/reliability").glob("*.md")}
    assert reports.keys() == {"load", "streams", "fuzz", "overhead"}
    for name, report in reports.items():
        assert f"<!-- {name} -->\n\n{report}\n<!-- end of {name} -->" in page


def test_a_report_takes_its_place_on_the_page(tmp_path: Path):
    page = tmp_path / "reliability.md"
    page.write_text("# Page\n\n<!-- load -->\n\nold\n\n<!-- end of load -->\n\nMore.\n")
    write_report("load", "A machine", [("pictures", "7")], tmp_path / "reliability")
    report = (tmp_path / "reliability/load.md").read_text()
    assert "| pictures | 7 |" in report
    assert page.read_text() == (
        f"# Page\n\n<!-- load -->\n\n{report}\n<!-- end of load -->\n\nMore.\n"
    )
    with pytest.raises(PageError, match="fuzz"):
        write_report("fuzz", "A machine", [("pictures", "7")], tmp_path / "reliability")


def test_too_many_pictures_are_answered_or_refused(folder: Path, tmp_path: Path):
    report = bench("load", folder, "--minutes", 0.1, "--factor", 4, "--output", tmp_path)
    assert int(said(report, "answered with people")) > 20
    refused, _, advice = said(report, "refused with 429 or 503").partition(", ")
    assert int(refused) > 0
    assert advice == "0 without Retry-After"
    assert set(said(report, "other answers")) <= set("{504: 1234567890}none")
    assert said(report, "without an answer") == "0"
    assert float(said(report, "normal again after").split()[0]) < 5
    assert said(report, "the service is") == "alive"
    assert "| the service is | alive |" in (tmp_path / "load.md").read_text()


def test_bad_cameras_leave_nothing_behind(folder: Path):
    report = bench("streams", folder, "--cameras", 4, "--bad", 4, "--minutes", 0.2)
    assert int(said(report, "beside 4 bad ones").split()[0]) > 3
    assert said(report, "sessions, before and after") == "0 and 0"
    before, _, after = said(report, "open files, before and after").partition(" and ")
    assert int(after) <= int(before) + 2
    assert said(report, "the service is") == "alive"


def test_broken_pictures_break_nothing(folder: Path, tmp_path: Path):
    report = bench("fuzz", folder, "--count", 300, "--pictures", 2, "--failures", tmp_path)
    assert said(report, "not answered as they should be") == "0"
    assert "200" in said(report, "answers")
    assert "400" in said(report, "answers")
    assert list(tmp_path.iterdir()) == []


def test_the_front_end_is_measured(folder: Path):
    report = bench("overhead", folder, "--requests", 20)
    assert float(said(report, "outside of decode, detector and pose, p50").split()[0]) > 0
    assert float(said(report, "with a 96x64 picture and models").split()[-2]) > 5


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_a_mutation_breaks_every_format_and_always_in_the_same_way(mutation, pictures: list[bytes]):
    for i, picture in enumerate(encodings(pictures[0])):
        broken = [mutation(picture, random.Random(i)) for _ in range(2)]
        assert broken[0] == broken[1]
        assert any(mutation(picture, random.Random(j)) != picture for j in range(5))


def test_the_same_number_is_the_same_picture(pictures: list[bytes]):
    sources = encodings(pictures[0])
    assert mutated(sources, 7, seed=1) == mutated(sources, 7, seed=1)
    assert len({mutated(sources, i, seed=1) for i in range(50)}) > 45
