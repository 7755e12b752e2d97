"""What a terminal shows while cameras are watched."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from farpose.watch.agent import Agent
from farpose.watch.sinks.queue import Sink
from farpose.watch.state import CameraState, State

REFRESH_SECONDS: Final = 0.25

_STYLES: Final = {
    State.CONNECTING: "yellow",
    State.LIVE: "green",
    State.LOST: "bold red",
    State.ENDED: "dim",
    State.FAILED: "bold red",
}


def view(agent: Agent) -> Group:
    """The table of cameras and, below it, that of outputs."""
    cameras = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    cameras.add_column("Camera", overflow="ellipsis", no_wrap=True, max_width=28)
    cameras.add_column("State", overflow="fold", ratio=1)
    for heading in ("fps", "People", "Latency", "Pictures", "Dropped"):
        cameras.add_column(heading, justify="right", no_wrap=True)
    for camera in agent.cameras:
        _add_camera(cameras, camera)
    parts: list[Table | Text] = [cameras]
    if agent.finders.trouble:
        parts.append(Text(f"\nThe service is away: {agent.finders.trouble}", style="bold red"))
    if agent.sinks:
        outputs = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        outputs.add_column("Output", overflow="ellipsis", no_wrap=True, max_width=40)
        outputs.add_column("State", overflow="fold", ratio=1)
        for heading in ("Records", "Waiting", "Lost"):
            outputs.add_column(heading, justify="right", no_wrap=True)
        for sink in agent.sinks:
            _add_sink(outputs, sink)
        parts += [Text(), outputs]
    return Group(*parts)


def _add_camera(table: Table, camera: CameraState) -> None:
    there = camera.state is State.LIVE
    table.add_row(
        camera.name,
        Text(_state(camera), style=_STYLES[camera.state]),
        f"{camera.rate():.1f}" if there else "-",
        str(camera.people) if there and camera.answered else "-",
        f"{camera.latency_ms:.0f} ms" if there and camera.answered else "-",
        str(camera.read),
        str(camera.dropped),
    )


def _state(camera: CameraState) -> str:
    match camera.state:
        case State.LIVE:
            return camera.description
        case State.LOST:
            wait = max(camera.retry_at - time.monotonic(), 0.0)
            return f"lost, next attempt in {wait:.0f} s: {camera.reason}"
        case State.CONNECTING if camera.reason:
            return f"connecting again: {camera.reason}"
        case State.FAILED:
            return f"failed: {camera.reason}"
        case _:
            return str(camera.state)


def _add_sink(table: Table, sink: Sink) -> None:
    table.add_row(
        sink.name,
        Text(sink.trouble or "delivers", style="bold red" if sink.trouble else "green"),
        str(sink.delivered),
        str(sink.waiting),
        Text(str(sink.lost), style="bold red" if sink.lost else ""),
    )


@asynccontextmanager
async def shown(agent: Agent, console: Console) -> AsyncIterator[None]:
    """Keep the view up to date on a terminal; what is logged meanwhile scrolls by above it."""
    root = logging.getLogger("farpose.watch")
    log = RichHandler(
        console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S"
    )
    handlers, root.handlers = root.handlers, [log]
    try:
        with Live(view(agent), console=console, auto_refresh=False) as live:

            async def refresh() -> None:
                while True:
                    live.update(view(agent), refresh=True)
                    await asyncio.sleep(REFRESH_SECONDS)

            task = asyncio.create_task(refresh())
            try:
                yield
            finally:
                task.cancel()
                live.update(view(agent), refresh=True)
    finally:
        root.handlers = handlers
