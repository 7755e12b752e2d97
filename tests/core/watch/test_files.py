"""Clips: at their own rate or every picture, and files that hold none."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from farpose.watch.addresses import parse_sources
from farpose.watch.agent import has_failed, summary
from farpose.watch.finders import UnansweredError
from farpose.watch.pictures import Picture
from farpose.watch.sinks.queue import Sink
from farpose.watch.state import State
from farpose.watch.video import Timeouts, Video
from tests.core.watch.cameras import write_sound
from tests.core.watch.conftest import IMPATIENT, Brightness, Kept, watch


def test_a_clip_plays_at_its_own_rate_and_the_newest_picture_is_looked_at(clips: Path):
    agent, kept = watch(str(clips / "short.mp4"), finders=Brightness({"short": 0.25}))
    (state,) = agent.cameras
    assert state.state is State.ENDED and not has_failed(agent)
    assert state.read == 15
    assert len(kept.records) == state.answered <= 6
    assert state.answered + state.dropped == 15
    assert sum(record["dropped"] for record in kept.records) == state.dropped
    assert kept.records[-1]["frame"] == 14, "the last picture is looked at"
    assert max(record["latency_ms"] for record in kept.records) < 1000


def test_every_picture_of_a_clip_is_answered_if_that_is_asked(clips: Path):
    capture = replace(IMPATIENT, every_frame=True)
    slow = Kept(seconds=0.01)
    agent, kept = watch(
        str(clips / "street.mp4"),
        capture=capture,
        finders=Brightness({"street": 0.001}),
        sinks=(Sink("slow", slow, 3, wait=True),),
    )
    assert [record["frame"] for record in kept.records] == list(range(150))
    assert [record["frame"] for record in slow.records] == list(range(150))
    assert [r["timestamp"] for r in kept.records] == [round(i / 15, 3) for i in range(150)]
    levels = [record["people"][0]["level"] for record in kept.records]
    assert all(abs(level - i) < 4 for i, level in enumerate(levels))
    assert agent.cameras[0].dropped == 0 and not has_failed(agent)


def test_files_that_hold_no_video_say_so_and_others_go_on(clips: Path, tmp_path: Path):
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "folder").mkdir()
    cut = (clips / "street.mp4").read_bytes()[:3000]
    (tmp_path / "cut.mp4").write_bytes(cut)
    names = ["sound.mp4", "empty.mp4", "words.mp4", "folder", "cut.mp4", "nothing.mp4"]
    agent, kept = watch(
        *(str(tmp_path / name) for name in names),
        str(clips / "short.mp4"),
        capture=replace(IMPATIENT, every_frame=True),
    )
    assert [camera.reason for camera in agent.cameras] == [
        "there is sound but no video",
        "the file is empty",
        "there is no video in it that can be read",
        "this is a folder",
        "there is no video in it that can be read",
        "there is no such file",
        "",
    ]
    assert len(kept.records) == 15
    assert has_failed(agent)
    told = "\n".join(summary(agent))
    assert "sound: failed (there is sound but no video), 0 pictures" in told
    assert "short: ended, 15 pictures, 15 answered" in told


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_clip_that_was_filmed_on_its_side_is_put_upright(turn: int, tmp_path: Path):
    """As OpenCV does it for `farpose predict`."""
    path = tmp_path / "turned.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        image = np.zeros((32, 64, 3), np.uint8)
        image[:16, :32] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    one = 1 << 16
    struct.pack_into(">5i", content, matrix, cos * one, sin * one, 0, -sin * one, cos * one)
    path.write_bytes(content)
    _, upright = cv2.VideoCapture(str(path)).read()
    with Video(parse_sources([str(path)])[0], Timeouts()) as opened:
        frame = next(opened.pictures())
    found = Picture(frame, 0, 0.0, datetime.now(UTC), 0.0).rgb()
    assert found.shape == upright.shape
    np.testing.assert_allclose(found.astype(int), upright[..., ::-1].astype(int), atol=8)


@pytest.mark.parametrize("error", [UnansweredError("the model failed"), ValueError("odd picture")])
def test_pictures_that_nobody_answers_are_counted_and_the_command_has_failed(
    error: Exception, clips: Path, caplog
):
    capture = replace(IMPATIENT, every_frame=True)
    finders = Brightness(failing=error)
    agent, kept = watch(str(clips / "short.mp4"), finders=finders, capture=capture)
    assert kept.records == []
    assert agent.cameras[0].unanswered == 15
    assert caplog.text.count(str(error)) == 1
    assert has_failed(agent)
