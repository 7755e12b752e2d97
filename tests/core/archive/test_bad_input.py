"""What is wrong is told in a sentence, the other inputs go on, and the exit code says so."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from farpose.archive.journal import open_journal
from farpose.archive.merge import parts_folder
from farpose.sources import read_frames
from tests.core.conftest import Predict

Capture = pytest.CaptureFixture[str]


def write_video(path: Path, times: list[int], size: tuple[int, int] = (160, 96)) -> None:
    """Frames shown at so many milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            picture = np.full((size[1], size[0], 3), 10 * i % 255, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for i in range(10):
            samples = np.zeros((1, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_each_bad_file_is_told_and_the_good_ones_are_in_the_output(
    data: Path, archive: Path, predict: Predict, tmp_path: Path, capsys: Capture
):
    folder, target = tmp_path / "videos", tmp_path / "people.jsonl"
    folder.mkdir()
    write_sound(folder / "1-sound.mp4")
    (folder / "2-empty.mp4").touch()
    (folder / "3-text.mkv").write_text("no video at all")
    content = (data / "video/one-by-one-person-detection.mp4").read_bytes()
    (folder / "4-cut.mp4").write_bytes(content[: len(content) // 40])
    (folder / "5-good.mp4").write_bytes((archive / "first.mp4").read_bytes())

    assert predict(folder, folder / "*.webm", "--output", target) == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors[0] == f"error: {folder}/*.webm: no picture and no video matches"
    assert errors[1] == f"error: {folder}/1-sound.mp4: there is sound in it and no video"
    assert errors[2] == f"error: {folder}/2-empty.mp4: the file is empty"
    assert errors[3].startswith(f"error: {folder}/3-text.mkv: neither a picture")
    assert errors[4].startswith(f"error: {folder}/4-cut.mp4: ends after ")
    assert errors[4].endswith(" of 139.4 s: it is cut off or damaged there")
    bad = ("*.webm", "1-sound.mp4", "2-empty.mp4", "3-text.mkv", "4-cut.mp4")
    assert lines[5:] == [
        "5 not, or not wholly, in the output:",
        *(f"  {folder}/{name}" for name in bad),
    ]
    documents = list(map(json.loads, target.read_text().splitlines()))
    frames = [d["frame"] for d in documents if d["source"].endswith("4-cut.mp4")]
    assert frames == list(range(len(frames))) and len(frames) > 2
    assert len([d for d in documents if d["source"].endswith("5-good.mp4")]) == 30


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_frames_of_a_variable_rate_have_their_real_times(name: str, tmp_path: Path):
    times = [0, 40, 80, 300, 340, 1000, 1040, 1080, 2000, 2040]
    write_video(tmp_path / name, times)
    frames = list(read_frames(tmp_path / name))
    assert [frame.time for frame in frames] == pytest.approx([t / 1000 for t in times], abs=2e-3)
    rest = list(read_frames(tmp_path / name, 7))
    assert [(f.index, f.time) for f in rest] == [(f.index, f.time) for f in frames[7:]]
    assert (rest[0].image == frames[7].image).all()
    assert list(read_frames(tmp_path / name, 10)) == []


def test_a_video_of_variable_rate_is_followed(predict: Predict, tmp_path: Path, capsys: Capture):
    write_video(tmp_path / "clip.mp4", [0, 40, 900, 940, 3000])
    assert predict(tmp_path / "clip.mp4", "--track", "--output", "-") == 0
    times = [json.loads(line)["time"] for line in capsys.readouterr().out.splitlines()]
    assert times == pytest.approx([0, 0.04, 0.9, 0.94, 3.0], abs=2e-3)


def test_videos_of_several_sizes_are_one_table_but_not_one_video(
    predict: Predict, tmp_path: Path, capsys: Capture
):
    write_video(tmp_path / "a.mp4", [0, 33, 66])
    write_video(tmp_path / "b.mp4", [0, 33, 66], (128, 128))
    assert predict(tmp_path / "?.mp4", "--output", tmp_path / "t.jsonl") == 0
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    sizes = [json.loads(line)["image"] for line in lines]
    assert [size["width"] for size in sizes] == [160] * 3 + [128] * 3
    assert predict(tmp_path / "?.mp4", "--output", tmp_path / "drawn.mp4") == 1
    assert "b.mp4: it is 128x128, the video 160x96" in capsys.readouterr().err
    assert len(list(read_frames(tmp_path / "drawn.mp4"))) == 3


def limited(size: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`farpose predict` where no file may be larger, as on a disk that is full."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "farpose",
            "predict",
            *map(str, arguments),
            "--detector-size",
            "320",
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_a_full_disk_is_told_and_what_is_done_is_kept(
    archive: Path, predict: Predict, tmp_path: Path, capsys: Capture
):
    clip, target = archive / "first.mp4", tmp_path / "people.json"
    # The results fit, and their longer text does not.
    full = limited(40_000, clip, "--output", target)
    assert full.returncode == 1
    assert f"error: {target}: cannot be written (File too large)" in full.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["people.json.parts"]
    assert predict(clip, "--output", target) == 0
    assert "1 of 1 files are done" in capsys.readouterr().err
    assert len(json.loads(target.read_text())) == 30


def test_a_disk_that_is_full_at_once_leaves_nothing(archive: Path, tmp_path: Path):
    full = limited(3_000, archive / "first.mp4", "--output", tmp_path / "people.jsonl")
    assert full.returncode == 1
    (line,) = full.stderr.splitlines()
    assert "people.jsonl.parts: cannot be written (File too large)" in line
    assert "make room, then run the same command again to go on" in line
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_does_not_fit_is_told(archive: Path, predict: Predict, tmp_path: Path):
    drawn = limited(60_000, archive / "first.mp4", "--output", tmp_path / "drawn.mp4")
    assert drawn.returncode == 1
    assert "drawn.mp4: cannot be written" in drawn.stderr and "Traceback" not in drawn.stderr
    assert not (tmp_path / "drawn.mp4").exists()


def test_stdout_that_is_full_is_told(archive: Path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "farpose", "predict", archive / "first.mp4", "--output", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output: cannot be written (No space left on device)\n"


def test_two_commands_do_not_work_on_one_output(
    archive: Path, predict: Predict, tmp_path: Path, capsys: Capture
):
    target = tmp_path / "people.jsonl"
    with open_journal(parts_folder(target), {}):
        assert predict(archive / "first.mp4", "--output", target) == 1
    assert "people.jsonl.parts: another process is working on it" in capsys.readouterr().err


def test_a_folder_that_is_no_job_is_left_alone(
    archive: Path, predict: Predict, tmp_path: Path, capsys: Capture
):
    mine = tmp_path / "people.jsonl.parts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert predict(archive / "first.mp4", "--output", tmp_path / "people.jsonl", "--restart") == 1
    assert "is not the folder of an unfinished job" in capsys.readouterr().err
    assert mine.read_text() == "mine"
