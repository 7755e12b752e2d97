"""`farpose study`, from a file to a report."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from farpose.cli import main
from farpose_training.config import ConfigError
from farpose_training.study.config import read_study
from farpose_training.study.process import add_seconds, seconds_spent
from farpose_training.study.report import _lengths, sets_of, write_report
from farpose_training.study.results import Ledger, Result, StudyError
from farpose_training.study.runner import Runner
from farpose_training.study.scoring import score_columns


@pytest.fixture
def study(settings: dict, tmp_path: Path) -> Path:
    """A file of two rows and one seed whose runs take a second each."""
    base = {name: value for name, value in settings.items() if name != "output"}
    content = {
        "title": "Two learning rates",
        "output": str(tmp_path / "study"),
        "base": base | {"optimizer": base["optimizer"] | {"epochs": 1}},
        "rows": {"slow": {}, "fast": {"optimizer": {"learning_rate": 5e-3}}},
        "seeds": [0],
        "score": [{"name": "people", "source": settings["val"], "shrink": True}],
        "parallel": 2,
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def change(path: Path, **fields: object) -> None:
    content = yaml.safe_load(path.read_text()) | fields
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def runner_of(path: Path, said: list[str] | None = None) -> tuple[Runner, Ledger]:
    study = read_study(path)
    ledger = Ledger(study.output / "results.csv", score_columns(sets_of(study)))
    return Runner(study, ledger, [].append if said is None else said.append), ledger


def test_a_study_makes_its_runs_once_and_reports_them(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    docs = tmp_path / "docs/results.csv"

    def call(*options: str) -> str:
        monkeypatch.setattr(
            "sys.argv", ["farpose", "study", str(study), "--csv", str(docs), *options]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out

    said = call()
    assert "[2/2]" in said
    assert said.splitlines()[-1] == str(tmp_path / "docs/report.md")
    lines = list(csv.DictReader(docs.read_text().splitlines()))
    assert {line["row"] for line in lines} == {"slow", "fast"}
    for line in lines:
        assert 0 <= float(line["people.truth.pck_0.2"]) <= 1
        assert line["people.shrink.16.people"] == "24"
        assert line["epochs"] == "1"
        assert line["precision"] == "32-true"
        assert float(line["seconds"]) > 0
        assert float(line["task"]) > 0
    report = (tmp_path / "docs/report.md").read_text()
    assert "# Two learning rates" in report
    assert "2 of 2 runs are finished" in report
    assert {p.name for p in docs.parent.iterdir()} == {
        "results.csv",
        "curves.csv",
        "summary.csv",
        "report.md",
        "accuracy.png",
        "curves.png",
    }

    before = docs.read_bytes()
    (tmp_path / "docs/report.md").unlink()
    assert "[" not in call("--report-only")
    assert (tmp_path / "docs/report.md").read_text() == report
    assert "[" not in call()  # nothing is left to do
    assert docs.read_bytes() == before

    # Only what is missing is made: here the score, of a training that is done.
    weights = (tmp_path / "study/fast/seed_0/checkpoint.safetensors").stat()
    kept = [line for line in docs.read_text().splitlines(keepends=True) if ",fast," not in line]
    docs.write_text("".join(kept))
    assert "[2/2] fast seed 0" in call()
    assert (tmp_path / "study/fast/seed_0/checkpoint.safetensors").stat().st_mtime_ns == (
        weights.st_mtime_ns
    )
    assert len(docs.read_text().splitlines()) == 3


def test_the_teacher_is_trained_first_and_a_result_is_tied_to_its_weights(
    study: Path, tmp_path: Path
):
    base = yaml.safe_load(study.read_text())["base"]
    larger = base["model"] | {"resolution": 64}
    teacher = base | {"output": str(tmp_path / "teacher"), "model": larger}
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(teacher))
    cca = {"distillation": {"feature": None, "temperature": {"kind": "etht"}}}
    change(study, teacher="teacher.yaml", rows={"baseline": {}, "cca": cca})
    said: list[str] = []
    runner, ledger = runner_of(study, said)
    assert runner.run() is True
    assert said[0] == f"training the teacher in {tmp_path / 'teacher'}"
    results = {result.row: result for result in ledger.results()}
    assert results["baseline"].facts["teacher"] == ""
    assert len(results["cca"].facts["teacher"]) == 12
    assert results["cca"].values["tau"] > 1
    assert results["cca"].values["logit_gradient_ratio"] > 0
    assert "logit" not in results["baseline"].values
    assert ledger.curves()["", "cca", 0][0]["epoch"] == 1

    runner_of(study)  # nothing has changed
    (tmp_path / "teacher/checkpoint.safetensors").write_bytes(b"other weights")
    with pytest.raises(StudyError, match="cca seed 0 was made by a teacher with other weights"):
        runner_of(study)


def test_no_time_makes_no_run_and_a_report_needs_one(study: Path):
    runner, ledger = runner_of(study)
    assert runner.run(0) is False
    assert len(runner.pending) == 2
    with pytest.raises(StudyError, match=r"results\.csv: no run of the study is finished"):
        write_report(read_study(study), ledger)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(("8", "8"), "8 epochs each"), (("20", "8"), "20 epochs at 32, 8 epochs at 64")],
)
def test_variants_may_be_trained_for_other_times(epochs: tuple[str, str], expected: str):
    results = [
        Result(variant, row, 0, {"epochs": count}, {})
        for variant, count in zip(("32", "64"), epochs, strict=True)
        for row in ("baseline", "all")
    ]
    assert _lengths(results) == expected


def test_a_half_made_run_is_not_continued_with_other_settings(study: Path, tmp_path: Path):
    folder = tmp_path / "study/slow/seed_0"
    folder.mkdir(parents=True)
    runner, _ = runner_of(study)
    job = runner._job(runner.runs[0])
    (folder / "job.json").write_text(job.model_dump_json())
    change(
        study,
        base=yaml.safe_load(study.read_text())["base"] | {"seed": 0, "augmentation": {"flip": 0}},
    )
    with pytest.raises(StudyError, match=r"seed_0 holds a run with other settings: remove it"):
        runner_of(study)[0].run()


def test_a_study_killed_while_it_writes_a_job_leaves_no_half_of_it(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write = Path.write_text

    def killed(path: Path, text: str) -> None:
        write(path, text[: len(text) // 2])
        raise KeyboardInterrupt

    runner, _ = runner_of(study)
    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert not (tmp_path / "study/slow/seed_0/job.json").exists()


def test_time_spent_is_added_up_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    add_seconds(tmp_path, 1.5)
    add_seconds(tmp_path, 2)
    assert seconds_spent(tmp_path) == 3.5
    write = Path.write_text

    def killed(path: Path, text: str) -> None:
        write(path, "")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        add_seconds(tmp_path, 1)
    assert seconds_spent(tmp_path) == 3.5


def test_a_run_that_fails_is_named_and_the_others_are_made(study: Path):
    rows = {"slow": {}, "broken": {"init": "none.safetensors"}}
    change(study, rows=rows)
    runner, ledger = runner_of(study)
    with pytest.raises(StudyError, match=r"1 runs failed\. broken seed 0: .*none\.safetensors"):
        runner.run()
    assert [result.row for result in ledger.results()] == ["slow"]


def test_a_row_with_a_teacher_of_its_own_is_not_taught_from_the_studys_bank(
    study: Path, tmp_path: Path
):
    for name in ("studys", "other"):
        (tmp_path / f"{name}.safetensors").write_text(name)
    base = yaml.safe_load(study.read_text())["base"] | {"bank": {"folder": str(tmp_path / "bank")}}
    rows = {
        "baseline": {},
        "other": {"distillation": {"teacher": str(tmp_path / "other.safetensors")}},
    }
    change(study, base=base, teacher=str(tmp_path / "studys.safetensors"), rows=rows)
    with pytest.raises(
        ConfigError, match=r"^other seed 0: bank\.teacher: .*studys.* is not .*other\.safetensors"
    ):
        runner_of(study)


def test_missing_files_are_found_before_the_first_run(study: Path, tmp_path: Path):
    source = {"annotations": "none.json", "images": "."}
    for fields, message in [
        ({"teacher": "none.safetensors"}, r"teacher: none\.safetensors does not exist"),
        ({"score": [{"name": "x", "source": source}]}, r"score x: annotations: none\.json"),
    ]:
        content = study.read_text()
        change(study, **fields)
        with pytest.raises(StudyError, match=message):
            runner_of(study)
        study.write_text(content)


def test_a_study_that_is_terminated_stops_its_workers_and_goes_on_later(
    study: Path, tmp_path: Path
):
    long = yaml.safe_load(study.read_text())["base"]
    change(study, base=long | {"optimizer": long["optimizer"] | {"epochs": 100000}})
    folder = tmp_path / "study/slow/seed_0"
    refused = []

    def epochs() -> int:
        log = folder / "log.jsonl"
        return len(log.read_text().splitlines()) if log.is_file() else 0

    def terminate_after_an_epoch() -> None:
        for _ in range(1200):
            if epochs():
                break
            time.sleep(0.05)
        try:
            runner_of(study)[0].run()
        except StudyError as error:
            refused.append(str(error))
        os.kill(os.getpid(), signal.SIGTERM)

    runner, ledger = runner_of(study)
    watcher = threading.Thread(target=terminate_after_an_epoch)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    watcher.join()
    assert refused == [f"{tmp_path / 'study'}: another farpose study is at work there"]
    done, seconds = epochs(), float((folder / "seconds").read_text())
    assert done > 0
    assert ledger.results() == []
    time.sleep(0.3)
    assert epochs() == done  # nobody trains any more

    assert runner.run(5) is False  # as `--minutes` does
    assert epochs() > done
    assert float((folder / "seconds").read_text()) > seconds + 4
