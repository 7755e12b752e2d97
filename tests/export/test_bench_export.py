from __future__ import annotations

import json
from pathlib import Path

import pytest

from farpose.cli import main
from farpose_export.benchmarks.turns import WARMUP, milliseconds
from farpose_export.precise import LabelledFiles


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["farpose", "bench", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_contestants_take_turns():
    order: list[str] = []
    times = milliseconds([lambda: order.append("a"), lambda: order.append("b")], 4)
    assert order == ["a", "b"] * (WARMUP + 4)
    assert [len(own) for own in times] == [4, 4]


def test_precisions_are_timed_and_scored(
    checkpoint: Path,
    people: LabelledFiles,
    others: LabelledFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    labelled = ("--annotations", people.annotations, "--images", people.images)
    fitted = ("--calibration", others.annotations, "--calibration-images", others.images)
    bench(monkeypatch, checkpoint, *labelled, *fitted, "--repetitions", 1, "--json")
    out = capsys.readouterr().out
    (model,) = json.loads(out.splitlines()[-1])["models"]
    assert [(t["precision"], t["batch_size"]) for t in model["timings"]] == [
        (name, size) for size in (1, 4, 16) for name in ("fp32", "fp16", "int8", "int8-long")
    ]
    assert all(t["crop_ms"] > 0 and t["speedup"] > 0 for t in model["timings"])
    assert [t["speedup"] for t in model["timings"] if t["precision"] == "fp32"] == [1, 1, 1]
    assert set(model["scores"]) == {"fp32", "fp16", "int8", "int8-long"}
    assert "ms/crop, batch 16" in out


def test_only_one_of_two_options_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(
        "sys.argv", ["farpose", "bench", "export", str(checkpoint), "--annotations", "a.json"]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "--annotations is given without --images" in capsys.readouterr().err
