from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.benchmarks.machine import peak_memory, this_machine
from farpose.benchmarks.pipeline import FIXED_BOXES, PipelineTiming, as_frame, generated_frame
from farpose.cli import main
from farpose.images import decode_image, read_header


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    argv = ["farpose", "bench", "pipeline", "--repetitions", "1", *map(str, arguments)]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_the_pipeline_is_timed_without_any_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bench(monkeypatch, "--json", "--threads", 1)
    out = capsys.readouterr().out
    content = json.loads(out.splitlines()[-1])
    assert [run["detector_size"] for run in content["runs"]] == [320, 640]
    for run in content["runs"]:
        assert sum(run["stages_ms"].values()) == pytest.approx(run["total_ms"], rel=0.01)
        assert all(run["stages_ms"][stage] > 0 for stage in ("decode", "detector", "crop", "pose"))
    assert content["machine"]["versions"]["onnxruntime"]
    assert "the detector runs on it, the pose model on 4 fixed boxes" in out
    assert "1280x720" in out and "peak memory" in out


def test_the_people_of_a_given_picture_are_posed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
):
    picture = data / "coco_mini/val/000000001000.jpg"
    bench(monkeypatch, "--image", picture, "--detector-size", 320)
    assert "the pose model on the 4 surest people" in capsys.readouterr().out


def test_shares_by_hand():
    stages = {"decode": 5, "letterbox": 1, "detector": 20, "crop": 2, "pose": 8, "answer": 2}
    timing = PipelineTiming(640, {**stages, "other": 2}, 40)
    assert timing.pose_per_detector == 0.5
    assert timing.outside_models == pytest.approx(12 / 40)
    assert timing.share("detector") == 0.5


def test_the_generated_frame_is_always_the_same():
    assert generated_frame() == generated_frame()
    assert read_header(generated_frame()) == ("image/jpeg", 1280, 720)
    heights = [y2 - y1 for _, y1, _, y2 in FIXED_BOXES]
    assert len(heights) == 4 and min(heights) == 56


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (300, 900), (1280, 720)])
def test_any_picture_becomes_1280x720(size: tuple[int, int]):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, size[0] // 2 :] = 255  # the middle stays in the middle
    _, encoded = cv2.imencode(".png", image)
    frame = decode_image(as_frame(encoded.tobytes()))
    assert frame.shape == (720, 1280, 3)
    assert frame[:, :630].max() < 60 and frame[:, 650:].min() > 195


def test_the_machine_is_named():
    machine = this_machine()
    assert machine.processor and machine.cores >= 1
    assert "onnxruntime" in str(machine)
    assert 10 < peak_memory() < 100_000
