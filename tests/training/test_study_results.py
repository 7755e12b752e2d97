"""Recorded runs, and what is computed from them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from farpose_training.config import SourceConfig, parse_train_config
from farpose_training.study.comparison import Spread, Table, differences
from farpose_training.study.config import ScoreConfig
from farpose_training.study.grid import Run
from farpose_training.study.results import Ledger, Result, StudyError, read_log
from farpose_training.study.scoring import score_columns
from farpose_training.study.tables import percent, score_table, shrink_tables, summary_csv

FACTS = {
    "epochs": 2,
    "settings": "aaa",
    "scoring": "bbb",
    "teacher": "",
    "machine": "a CPU",
    "cores": 2,
    "threads": 1,
    "precision": "32-true",
    "torch": "2.5",
    "seconds": 60,
}
SET = ScoreConfig(
    name="set",
    source=SourceConfig(annotations="a.json", images="a"),
    boxes=("truth", "detected"),
    shrink=True,
)


def result(row: str, seed: int, pck: float, small: float = 0.1) -> Result:
    values = {"set.truth.pck_0.2": pck, "set.shrink.16.pck_0.2": small}
    return Result("", row, seed, {}, values)


@pytest.fixture
def finished(settings: dict, tmp_path: Path):
    """Makes a run whose training has left a log."""

    def make(row: str, seed: int = 0) -> Run:
        output = tmp_path / row / str(seed)
        output.mkdir(parents=True)
        lines = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "tau": 3.5, "pck_0.2": 0.25}]
        (output / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Run("", row, seed, parse_train_config(settings | {"output": str(output)}))

    return make


def test_paired_differences_are_seed_by_seed():
    paired = differences({0: 0.41, 1: 0.44, 2: 0.40, 7: 0.9}, {0: 0.40, 1: 0.41, 2: 0.41, 5: 0.1})
    assert paired.values == pytest.approx((0.01, 0.03, -0.01))
    assert paired.mean == pytest.approx(0.01)
    assert paired.deviation == pytest.approx(0.02)
    assert (paired.positive, len(paired)) == (2, 3)


def test_one_value_has_no_deviation_and_none_has_no_mean():
    assert Spread((0.5,)).mean == 0.5
    assert math.isnan(Spread((0.5,)).deviation)
    assert math.isnan(Spread(()).mean)
    assert percent(Spread((0.5,))) == "50.00"
    assert percent(Spread(())) == "-"
    assert percent(Spread((0.01, 0.03)), signed=True) == "+2.00 ± 1.41"


def test_the_table_compares_with_the_baseline():
    results = [result("base", 0, 0.40), result("base", 1, 0.42)]
    results += [result("new", 0, 0.43), result("new", 1, 0.41), result("new", 2, 0.9)]
    text = score_table(Table(results, "base"), ["base", "new"], "set", ["truth"])
    _, _, base, new = (
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()
    )
    assert base == ["base", "2", "41.00 ± 1.41", "-", "-", "-", "baseline", "-"]
    assert new == ["new", "3", "58.00 ± 27.73", "-", "-", "-", "+1.00 ± 2.83", "1 of 2"]


def test_small_people_are_compared_with_the_baseline_too():
    results = [result("base", 0, 0.4, 0.10), result("new", 0, 0.4, 0.15)]
    text = shrink_tables(Table(results, "base"), ["base", "new"], "set")
    assert "| base | 10.00 | - |" in text
    assert "| new | +5.00 | - |" in text


def test_the_summary_has_a_line_per_row_and_column():
    results = [result("base", 0, 0.4), result("new", 0, 0.5), result("new", 1, 0.7)]
    text = summary_csv(
        {"v": Table(results, "base")}, ["base", "new"], ["set.truth.pck_0.2", "other"]
    )
    assert text.splitlines()[1:] == [
        "v,base,set.truth.pck_0.2,1,0.4,,0,",
        "v,new,set.truth.pck_0.2,2,0.6,0.141421,0.1,",
    ]


def test_a_recorded_run_is_read_back(finished, tmp_path: Path):
    columns = score_columns([SET])
    ledger = Ledger(tmp_path / "docs/results.csv", columns)
    ledger.add(finished("a"), FACTS, {"set.truth.pck_0.2": 0.1234567, "set.truth.AP": math.nan})
    ledger.add(finished("a", 1), FACTS, {})
    again = Ledger(tmp_path / "docs/results.csv", columns)
    first, second = again.results()
    assert (first.key, second.key) == (("", "a", 0), ("", "a", 1))
    assert first.facts["machine"] == "a CPU"
    assert first.values == {"set.truth.pck_0.2": 0.123457, "loss": 1.0, "tau": 3.5}
    assert again.curves()["", "a", 0] == [
        {"epoch": 1, "loss": 2.0},
        {"epoch": 2, "loss": 1.0, "tau": 3.5, "pck_0.2": 0.25},
    ]


def test_a_line_that_was_cut_off_is_removed_with_the_curves_of_its_run(finished, tmp_path: Path):
    path = tmp_path / "results.csv"
    ledger = Ledger(path, [])
    ledger.add(finished("a"), FACTS, {})
    ledger.add(finished("b"), FACTS, {})
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    mended = Ledger(path, [])
    assert [r.row for r in mended.results()] == ["a"]
    assert list(mended.curves()) == [("", "a", 0)]
    mended.add(Run("", "b", 0, finished("b", 2).config), FACTS, {})
    assert path.read_bytes() == whole
    path.write_bytes(b"variant,ro")  # not even the header
    assert Ledger(path, []).results() == []


def test_reading_leaves_alone_what_another_process_writes(finished, tmp_path: Path):
    path, curves = tmp_path / "results.csv", tmp_path / "curves.csv"
    ledger = Ledger(path, [])
    ledger.add(finished("a"), FACTS, {})
    with curves.open("a") as file:  # of a run whose result is yet to come
        file.write(curves.read_text().splitlines()[-1].replace(",a,", ",b,") + "\n,b,0,2,0.")
    with path.open("a") as file:
        file.write(",b,0,2,aa")
    before = path.read_bytes(), curves.read_bytes()
    read = Ledger(path, [])
    assert [result.row for result in read.results()] == ["a"]
    assert list(read.curves()) == [("", "a", 0)]
    assert (path.read_bytes(), curves.read_bytes()) == before


def test_a_file_of_other_columns_is_refused(finished, tmp_path: Path):
    path = tmp_path / "results.csv"
    Ledger(path, ["old"]).add(finished("a"), FACTS, {})
    with pytest.raises(StudyError, match=r"results\.csv has other columns.*\(new, old\)"):
        Ledger(path, ["new"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": "other"}, "a seed 0 was made with other training settings"),
        ({"scoring": "other"}, "with other settings of score"),
        ({"teacher": "other"}, "by a teacher with other weights"),
    ],
)
def test_a_recorded_run_with_other_settings_is_refused(
    finished, tmp_path: Path, changed: dict, message: str
):
    ledger = Ledger(tmp_path / "results.csv", [])
    run = finished("a")
    ledger.add(run, FACTS | {"teacher": "ccc"}, {})
    now = {"settings": "aaa", "scoring": "bbb", "teacher": "ccc"}
    ledger.refuse_changes([run], lambda run: now)
    with pytest.raises(StudyError, match=message):
        ledger.refuse_changes([run], lambda run: now | changed)


def test_a_training_without_a_log_is_named(tmp_path: Path):
    with pytest.raises(StudyError, match=r"log\.jsonl: has no epoch"):
        read_log(tmp_path)
