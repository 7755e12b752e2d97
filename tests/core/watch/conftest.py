"""Runs agents whose pictures are looked at by who tells their brightness, and keeps their records.

The cameras and all between them and the records are real; the models are not needed here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from farpose.watch.addresses import parse_sources
from farpose.watch.agent import Agent, Watching
from farpose.watch.capture import CaptureSettings
from farpose.watch.sinks.queue import Sink
from farpose.watch.video import Timeouts
from tests.core.watch.cameras import write_clip

IMPATIENT = CaptureSettings(Timeouts(open=1.5, stall=1.0), first_pause=0.1, longest_pause=0.3)


@dataclass
class Brightness:
    """Finders that answer how bright a picture is, after `seconds` of its camera."""

    seconds: dict[str, float] = field(default_factory=dict)
    at_once: int = 0
    trouble: str = ""
    failing: Exception | None = None
    nobody_below: int = 0
    """Darker pictures have nobody in them."""

    @asynccontextmanager
    async def camera(self, name: str):
        yield _Brightness(self, self.seconds.get(name, 0.0))


@dataclass
class _Brightness:
    finders: Brightness
    seconds: float

    async def ready(self) -> None: ...

    async def find(self, picture):
        await asyncio.sleep(self.seconds)
        if self.finders.failing is not None:
            raise self.finders.failing
        level = round(float(picture.rgb().mean()))
        return {"people": [{"level": level}] if level >= self.finders.nobody_below else []}


@dataclass
class Kept:
    """A delivery that keeps what it gets, each after `seconds`."""

    seconds: float = 0.0
    records: list[dict] = field(default_factory=list)

    def deliver(self, record, stopping) -> None:
        stopping.wait(self.seconds)
        self.records.append(json.loads(record.body))

    def finish(self, stopping) -> int:
        return 0

    def of(self, camera: str) -> list[dict]:
        return [record for record in self.records if record["camera"] == camera]


Scenario = Callable[[Agent, Kept], Awaitable[None]]


def watch(
    *sources: str,
    scenario: Scenario | None = None,
    finders: Brightness | None = None,
    capture: CaptureSettings = IMPATIENT,
    sinks: tuple[Sink, ...] = (),
    **watching,
) -> tuple[Agent, Kept]:
    """Watch until all sources have ended, or a scenario has been played."""
    kept = Kept()

    async def run() -> Agent:
        agent = Agent(
            Watching(parse_sources(sources), capture, **watching),
            finders or Brightness(),
            (Sink("kept", kept, wait=capture.every_frame), *sinks),
        )
        task = asyncio.create_task(agent.run())
        if scenario is not None:
            await scenario(agent, kept)
            agent.stop()
        await asyncio.wait_for(task, 30)
        return agent

    return asyncio.run(run()), kept


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `street.mp4`, ten seconds, and `short.mp4`, one."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "street.mp4", 150)
    write_clip(folder / "short.mp4", 15)
    return folder
