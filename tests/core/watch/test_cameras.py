"""Cameras that are cut off, freeze, say nothing or send rubbish, over real connections."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from farpose.watch.state import State
from farpose.watch.video import Video
from tests.core.watch.cameras import HttpCamera, RtspCamera, answering
from tests.core.watch.conftest import IMPATIENT, until, watch


@pytest.mark.parametrize("kind", ["mpegts", "mjpeg", "rtsp"])
def test_a_camera_that_was_cut_off_is_watched_again(
    kind: str, clips: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "farpose.watch")
    camera = RtspCamera(clips) if kind == "rtsp" else HttpCamera(kind)

    async def scenario(agent, kept) -> None:
        (state,) = agent.cameras
        await until(lambda: len(kept.records) >= 4)
        assert state.state is State.LIVE
        camera.off()
        await until(lambda: state.state is State.LOST)
        before = len(kept.records)
        assert state.reason
        camera.on()
        await until(lambda: len(kept.records) >= before + 4)

    with camera:
        agent, kept = watch(f"gate={camera.url}", scenario=scenario)
    (state,) = agent.cameras
    assert state.reconnects == 1
    assert not state.has_failed
    numbers, times = ([r[name] for r in kept.records] for name in ("frame", "timestamp"))
    assert numbers == sorted(set(numbers))
    assert times == sorted(set(times))
    told = caplog.text
    assert "gate: lost" in told and "gate: again sends pictures" in told
    assert "secret" not in told and "***@" in told


def test_a_camera_that_stops_sending_is_lost_and_tried_again():
    async def scenario(agent, kept) -> None:
        (state,) = agent.cameras
        await until(lambda: len(kept.records) >= 3)
        camera.frozen = True
        await until(lambda: state.state is State.LOST)
        assert state.reason == "it sent nothing for 1 s"
        before = len(kept.records)
        camera.frozen = False
        await until(lambda: len(kept.records) > before)

    with HttpCamera() as camera:
        watch(camera.url, scenario=scenario)


def test_a_camera_that_only_sends_sound_any_more_is_lost():
    async def scenario(agent, kept) -> None:
        await until(lambda: agent.cameras[0].reason)

    with HttpCamera("sound") as camera:
        agent, kept = watch(camera.url, scenario=scenario)
    assert kept.records
    assert agent.cameras[0].reason == "it sends no pictures for 1 s"


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_camera_that_never_answers_is_lost_while_another_one_is_watched(scheme, clips: Path):
    async def scenario(agent, kept) -> None:
        await until(lambda: agent.cameras[0].reason)

    with answering(None) as port:
        capture = replace(IMPATIENT, timeouts=replace(IMPATIENT.timeouts, open=0.5))
        agent, kept = watch(
            f"{scheme}://127.0.0.1:{port}/x",
            str(clips / "short.mp4"),
            scenario=scenario,
            capture=capture,
        )
    assert agent.cameras[0].reason == "no answer within 0.5 s"
    assert kept.of("short")


def test_rubbish_is_no_video_and_a_camera_is_given_up_if_that_is_asked():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"
    with answering(head + bytes(range(256)) * 200) as port:
        capture = replace(IMPATIENT, attempts=2)
        agent, kept = watch(f"http://127.0.0.1:{port}/x", capture=capture)
    (state,) = agent.cameras
    assert state.state is State.FAILED
    assert state.reason.endswith("given up after 2 attempts")
    assert "video" in state.reason
    assert state.has_failed and kept.records == []


@pytest.mark.parametrize(
    ("status", "told"), [(401, "user or password"), (404, "no such stream"), (503, "has failed")]
)
def test_what_a_camera_refuses_is_said(status: int, told: str):
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with answering(answer.encode()) as port:
        agent, _ = watch(
            f"http://admin:secret@127.0.0.1:{port}/x", capture=replace(IMPATIENT, attempts=1)
        )
    (state,) = agent.cameras
    assert told in state.reason
    assert "secret" not in f"{state}"


def test_a_camera_that_makes_a_library_fail_is_tried_again(monkeypatch):
    failures = [KeyError("rtsp://admin:secret@host"), ValueError("odd")]

    class Odd(Video):
        def __init__(self, *arguments) -> None:
            if failures:
                raise failures.pop(0)
            super().__init__(*arguments)

    async def scenario(agent, kept) -> None:
        (state,) = agent.cameras
        await until(lambda: state.reason)
        assert state.reason == "KeyError while it was read"
        await until(lambda: kept.records)

    monkeypatch.setattr("farpose.watch.capture.Video", Odd)
    with HttpCamera("mjpeg") as camera:
        watch(camera.url, scenario=scenario)


def test_a_webcam_that_is_not_there_is_waited_for():
    async def scenario(agent, kept) -> None:
        await until(lambda: agent.cameras[0].state is State.LOST)

    agent, _ = watch("/dev/video77", scenario=scenario)
    assert agent.cameras[0].reason == "No such file or directory"
