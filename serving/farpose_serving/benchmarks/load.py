"""`farpose bench load`: more pictures than the service can answer, and what becomes of them."""

from __future__ import annotations

import http.client
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from farpose.benchmarks.machine import this_machine
from farpose_serving.benchmarks.cameras import over_http, run_cameras
from farpose_serving.benchmarks.engines import read_pictures
from farpose_serving.benchmarks.memory import MemoryWatch
from farpose_serving.benchmarks.reports import write_report
from farpose_serving.benchmarks.servers import Server, free_port

CALIBRATION_SECONDS: Final = 10.0
"""At most, and never longer than half of what follows."""

WARM_UP_SECONDS: Final = 1.0
CALLERS: Final = 8
"""At once while the capacity is found: as many as are in work at once."""

CONNECTIONS: Final = 256
"""At most, while there is too much to do."""

TIMEOUT_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 2.0
"""A connection is not used again later: the service may be closing it, which it does after 5."""

REFUSED: Final = (429, 503)


@dataclass
class Outcome:
    """What became of the pictures."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    """Seconds until the people came."""

    without_advice: int = 0
    """Refused without `Retry-After`."""

    lost: int = 0
    """Without an answer."""

    ended: float = 0.0
    """When the last picture was sent, by `time.perf_counter`; answers come after it."""


def load(
    images: Annotated[Path, typer.Argument(help="A folder of JPEG pictures to send.")],
    minutes: Annotated[float, typer.Option(min=0.02, help="Of too many pictures.")] = 10.0,
    factor: Annotated[float, typer.Option(min=0.1, help="Of the capacity.")] = 1.5,
    deadline_ms: Annotated[int, typer.Option(min=100, help="Of the service.")] = 3000,
    pictures: Annotated[int, typer.Option(min=1, help="The first so many are sent.")] = 16,
    output: Annotated[Path | None, typer.Option(help="A folder for load.md.")] = None,
) -> None:
    """Send more pictures than the service can answer, at random moments."""
    sent = read_pictures(images, pictures)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(
            ["serve", "--port", str(port)],
            f"{url}/health/ready",
            Path(folder) / "log",
            {"FARPOSE_DEADLINE_MS": str(deadline_ms)},
        ) as server,
    ):
        connect = over_http(url)
        calibration = min(CALIBRATION_SECONDS, minutes * 30)
        alone = run_cameras(connect, sent, 1, calibration / 2, WARM_UP_SECONDS)
        full = run_cameras(connect, sent, CALLERS, calibration, WARM_UP_SECONDS)
        capacity = len(full.latencies) / full.seconds
        normal = float(np.median(alone.latencies))
        with MemoryWatch(server) as memory:
            outcome = offer(port, sent, factor * capacity, minutes * 60)
        recovery = _recovery(port, sent[0], normal, outcome.ended)
        alive = server.alive
    p50, p99 = np.quantile(outcome.accepted or [np.nan], [0.5, 0.99]) * 1e3
    refused = sum(outcome.statuses[status] for status in REFUSED)
    total = sum(outcome.statuses.values()) + outcome.lost
    others = {s: n for s, n in outcome.statuses.items() if s not in (200, *REFUSED)}
    rows = [
        ("capacity", f"{capacity:.1f} pictures/s"),
        ("offered", f"{factor * capacity:.1f} pictures/s for {minutes:g} minutes, {total} in all"),
        ("answered with people", f"{outcome.statuses[200]}"),
        ("refused with 429 or 503", f"{refused}, {outcome.without_advice} without Retry-After"),
        ("other answers", str(others or "none")),
        ("without an answer", str(outcome.lost)),
        ("time of those answered, p50", f"{p50:.0f} ms"),
        ("time of those answered, p99", f"{p99:.0f} ms, deadline {deadline_ms} ms"),
        *memory.rows(),
        ("normal again after", f"{recovery:.1f} s"),
        ("the service is", "alive" if alive else "DEAD"),
    ]
    write_report("load", f"{this_machine()}", rows, output)


def offer(port: int, pictures: Sequence[bytes], rate: float, seconds: float) -> Outcome:
    """Send pictures at random moments (Poisson arrivals), whether or not answers come."""
    outcome, lock, own = Outcome(), threading.Lock(), threading.local()

    def send(picture: bytes) -> None:
        start = time.perf_counter()
        try:
            status, advice = _post(own, port, picture)
        except (OSError, http.client.HTTPException):
            own.connection = None
            with lock:
                outcome.lost += 1
            return
        with lock:
            outcome.statuses[status] += 1
            if status == http.client.OK:
                outcome.accepted.append(time.perf_counter() - start)
            elif status in REFUSED and not advice:
                outcome.without_advice += 1

    chance = random.Random(0)  # noqa: S311 (moments, no secrets)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        moment, end, number = time.perf_counter(), time.perf_counter() + seconds, 0
        while moment < end:
            moment += chance.expovariate(rate)
            time.sleep(max(0.0, moment - time.perf_counter()))
            pool.submit(send, pictures[number % len(pictures)])
            number += 1
        outcome.ended = time.perf_counter()
    return outcome


def _post(own: threading.local, port: int, picture: bytes) -> tuple[int, bool]:
    connection = getattr(own, "connection", None)
    if connection is not None and time.perf_counter() - own.used > IDLE_SECONDS:
        connection.close()
        connection = None
    if connection is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        own.connection = connection
    connection.request("POST", "/pose", picture, {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    json.load(response)
    own.used = time.perf_counter()
    if response.status != http.client.OK:  # what it has not read ends the connection
        connection.close()
    return response.status, response.headers["Retry-After"] is not None


def _recovery(port: int, picture: bytes, normal: float, ended: float) -> float:
    """Seconds from the end of the load until a picture takes at most twice as long as before it."""
    own = threading.local()
    while time.perf_counter() - ended < TIMEOUT_SECONDS:
        start = time.perf_counter()
        status, _ = _post(own, port, picture)
        if status == http.client.OK and time.perf_counter() - start < 2 * normal:
            break
        time.sleep(0.05)
    return time.perf_counter() - ended
