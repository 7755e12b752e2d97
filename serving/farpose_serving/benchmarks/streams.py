"""`farpose bench streams`: many cameras over WS /stream, some of which behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import random
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from farpose.benchmarks.machine import this_machine
from farpose_serving.benchmarks.engines import read_pictures
from farpose_serving.benchmarks.memory import MIB, MemoryWatch
from farpose_serving.benchmarks.reports import write_report
from farpose_serving.benchmarks.servers import Server, free_port

RATES: Final = (0.1, 0.2, 0.5, 0.8)
"""Pictures per second of the cameras, by turns."""

WAIT_SECONDS: Final = 20.0
"""For the bad cameras to come to an end."""

BAD: Final = ("takes no answers", "hangs up in the middle", "sends garbage", "floods")


@dataclass
class Seen:
    """What the good cameras saw."""

    answered: int = 0
    dropped: int = 0
    problems: int = 0
    ages: list[float] = field(default_factory=list)
    """Seconds from sending a picture to its people."""

    def p99(self) -> float:
        """Milliseconds."""
        return float(np.quantile(self.ages or [np.nan], 0.99) * 1e3)


def streams(
    images: Annotated[Path, typer.Argument(help="A folder of JPEG pictures to send.")],
    cameras: Annotated[int, typer.Option(min=1, help="That behave.")] = 64,
    bad: Annotated[int, typer.Option(min=0, help="That do not, in the second half.")] = 16,
    minutes: Annotated[float, typer.Option(min=0.02, help="Without and then with them.")] = 4.0,
    pictures: Annotated[int, typer.Option(min=1, help="The first so many are sent.")] = 16,
    rest: Annotated[float, typer.Option(min=0, help="Seconds before the last look, at most.")] = 25,
    output: Annotated[Path | None, typer.Option(help="A folder for streams.md.")] = None,
) -> None:
    """Cameras at mixed speeds, without and with cameras that behave badly beside them."""
    sent = read_pictures(images, pictures)
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(
            ["serve", "--port", str(port)],
            f"http://127.0.0.1:{port}/health/ready",
            Path(folder) / "log",
        ) as server,
    ):
        before = _state(server, port)
        seconds = minutes * 30
        with MemoryWatch(server) as memory_alone:
            alone = watch(port, sent, cameras, 0, seconds)
        with MemoryWatch(server) as memory_crowded:
            crowded = watch(port, sent, cameras, bad, seconds)
        after = _settled(server, port, before, rest)
        alive = server.alive

    def said(seen: Seen) -> str:
        return (
            f"{seen.answered} answered, {seen.dropped} dropped, {seen.problems} problems, "
            f"p99 {seen.p99():.0f} ms"
        )

    rows = [
        ("cameras", f"{cameras} at {', '.join(map(str, RATES))} pictures/s"),
        ("alone", said(alone)),
        (f"beside {bad} bad ones", said(crowded)),
        ("p99, bad ones beside over alone", f"{crowded.p99() / alone.p99():.2f}"),
        *memory_alone.rows("memory alone"),
        *memory_crowded.rows("memory beside them"),
        *((f"{name}, before and after", f"{before[name]} and {after[name]}") for name in before),
        ("the service is", "alive" if alive else "DEAD"),
    ]
    write_report("streams", f"{this_machine()}", rows, output)


def watch(port: int, pictures: Sequence[bytes], cameras: int, bad: int, seconds: float) -> Seen:
    """Run cameras for a while, and tell what the good ones saw.

    The bad ones have a process of their own, so that they slow nobody but the service.
    """
    url = f"ws://127.0.0.1:{port}/stream"
    crowd = multiprocessing.get_context("spawn").Process(
        target=_run_bad, args=(url, pictures[:2], bad, seconds)
    )
    if bad:
        crowd.start()
    seen = asyncio.run(_watch(url, pictures, cameras, seconds))
    if bad:
        crowd.join(WAIT_SECONDS)
        crowd.kill()
    return seen


async def _watch(url: str, pictures: Sequence[bytes], cameras: int, seconds: float) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds
    await asyncio.gather(
        *(_good(url, pictures, RATES[i % len(RATES)], end, seen) for i in range(cameras))
    )
    return seen


def _run_bad(url: str, pictures: Sequence[bytes], count: int, seconds: float) -> None:
    async def run() -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(
            *(_bad(url, pictures, BAD[i % len(BAD)], end, i) for i in range(count))
        )

    asyncio.run(run())


async def _good(url: str, pictures: Sequence[bytes], rate: float, end: float, seen: Seen) -> None:
    sent: dict[int, float] = {}

    async def read(socket: ClientConnection) -> None:
        async for text in socket:
            answer = json.loads(text)
            if "status" in answer:
                seen.problems += 1
                continue
            seen.answered += 1
            seen.dropped += answer["dropped"]
            seen.ages.append(time.monotonic() - sent.pop(answer["frame"]))

    async with connect(url, max_size=None) as socket:
        reading = asyncio.create_task(read(socket))
        number, start = 0, time.monotonic() + random.random() / rate  # noqa: S311
        while (moment := start + number / rate) < end:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            sent[number] = time.monotonic()
            await socket.send(pictures[number % len(pictures)])
            number += 1
        await asyncio.sleep(1.0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _bad(url: str, pictures: Sequence[bytes], how: str, end: float, number: int) -> None:
    chance = random.Random(number)  # noqa: S311
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
            async with asyncio.timeout(max(0.1, end - time.monotonic())):
                await _misbehave(url, pictures, how, chance)


async def _misbehave(url: str, pictures: Sequence[bytes], how: str, chance: random.Random) -> None:
    # A client that does not read its messages stops reading the connection when 1 is queued.
    async with connect(url, max_queue=1, close_timeout=1) as socket:
        match how:
            case "takes no answers":
                while True:
                    await socket.send("no options" * 100)
            case "hangs up in the middle":
                socket.protocol.send_binary(chance.choice(pictures))
                message = b"".join(socket.protocol.data_to_send())
                socket.transport.write(message[: len(message) // 2])
                await asyncio.sleep(0.2)  # until it is with the service
                socket.transport.abort()
            case "sends garbage":
                for _ in range(50):
                    await socket.send(chance.randbytes(chance.randrange(5000)))
                    await socket.recv()
            case _:
                for _ in range(200):
                    await socket.send(chance.choice(pictures))


def _settled(server: Server, port: int, before: dict[str, str], seconds: float) -> dict[str, str]:
    """The state once sessions and open files are as before, or so many seconds later."""
    end = time.monotonic() + seconds
    while True:
        state = _state(server, port)
        alike = all(state[name] == before[name] for name in ("sessions", "open files"))
        if alike or time.monotonic() > end:
            return state
        time.sleep(0.5)


def _state(server: Server, port: int) -> dict[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    sessions = next(
        line.rpartition(" ")[2]
        for line in text.splitlines()
        if line.startswith("farpose_camera_sessions ")
    )
    return {
        "sessions": f"{float(sessions):.0f}",
        "open files": str(server.descriptors()),
        "threads": str(server.threads()),
        "memory": f"{server.resident_bytes() / MIB:.0f} MiB",
    }
