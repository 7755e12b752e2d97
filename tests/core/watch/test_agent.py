"""Cameras share a command: none waits for another one, nor for an output."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from farpose.watch.agent import has_failed
from farpose.watch.sinks.queue import Sink
from tests.core.watch.conftest import IMPATIENT, Brightness, until, watch


def test_a_camera_that_is_slow_to_answer_delays_no_other(clips: Path):
    clip = clips / "short.mp4"
    finders = Brightness({"slow": 0.6})
    _, kept = watch(f"slow={clip}", f"fast={clip}", finders=finders)
    assert len(kept.of("slow")) <= 4
    assert len(kept.of("fast")) >= 12
    assert max(record["latency_ms"] for record in kept.of("fast")) < 400


def test_cameras_take_turns_where_one_picture_is_looked_at_at_a_time(clips: Path):
    clip = clips / "street.mp4"
    names = [f"camera{i}" for i in range(5)]
    # A round takes 0.25 s: then every camera has a picture, one each 1/15 s, when its turn comes.
    finders = Brightness(dict.fromkeys(names, 0.05), at_once=1)
    turns: Counter[str] = Counter()

    async def scenario(agent, kept) -> None:
        await until(lambda: all(camera.answered for camera in agent.cameras))
        first = len(kept.records)
        await until(lambda: len(kept.records) >= first + 40)
        turns.update(record["camera"] for record in kept.records[first : first + 40])

    watch(*(f"{name}={clip}" for name in names), finders=finders, scenario=scenario)
    assert set(turns) == set(names)
    assert max(turns.values()) - min(turns.values()) <= 2


class Stuck:
    """A delivery that never comes back."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def deliver(self, record, stopping) -> None:
        self.free.wait(60)

    def finish(self, stopping) -> int:
        return 0


def test_an_output_that_is_stuck_holds_up_nothing_and_what_it_loses_is_counted(clips: Path):
    delivery = Stuck()
    stuck = Sink("stuck", delivery, 4)
    capture = replace(IMPATIENT, every_frame=True)

    async def scenario(agent, kept) -> None:
        await until(lambda: agent.cameras[0].answered == 15)
        assert stuck.waiting <= 4

    started = time.monotonic()
    agent, kept = watch(
        str(clips / "short.mp4"), capture=capture, sinks=(stuck,), scenario=scenario, drain=0.5
    )
    assert time.monotonic() - started < 5
    delivery.free.set()
    assert len(kept.records) == 15
    assert stuck.lost == 15
    assert has_failed(agent)


def test_an_interval_leaves_records_out_and_says_how_many(clips: Path):
    _, kept = watch(str(clips / "short.mp4"), interval=0.4)
    assert 2 <= len(kept.records) <= 4
    last = kept.records[-1]["frame"]
    assert sum(r["skipped"] + r["dropped"] + 1 for r in kept.records) == last + 1


def test_records_of_nobody_are_left_out_if_that_is_asked(clips: Path):
    capture = replace(IMPATIENT, every_frame=True)
    finders = Brightness(nobody_below=10)
    _, kept = watch(str(clips / "short.mp4"), capture=capture, finders=finders, only_people=True)
    assert [(r["frame"], r["skipped"]) for r in kept.records][:2] == [(10, 10), (11, 0)]
