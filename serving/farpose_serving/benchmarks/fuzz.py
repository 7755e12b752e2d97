"""`farpose bench fuzz`: thousands of broken pictures for a real service."""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from farpose.benchmarks.machine import this_machine
from farpose_serving.benchmarks.engines import read_pictures
from farpose_serving.benchmarks.memory import MemoryWatch
from farpose_serving.benchmarks.mutations import encodings, mutated
from farpose_serving.benchmarks.reports import write_report
from farpose_serving.benchmarks.servers import Server, free_port
from farpose_serving.problems import PROBLEM_TYPE

CONNECTIONS: Final = 4
TYPES: Final = ("image/jpeg", "image/png", "image/webp")
TIMEOUT_SECONDS: Final = 60.0


@dataclass
class Found:
    """What the service said of the pictures."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: dict[int, str] = field(default_factory=dict)
    """Numbers of pictures that were not answered as they should, and how they were."""


def fuzz(
    images: Annotated[Path, typer.Argument(help="A folder of JPEG pictures to break.")],
    count: Annotated[int, typer.Option(min=1, help="How many to send.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Other pictures with another one.")] = 0,
    pictures: Annotated[int, typer.Option(min=1, help="The first so many are broken.")] = 8,
    output: Annotated[Path | None, typer.Option(help="A folder for fuzz.md.")] = None,
    failures: Annotated[Path, typer.Option(help="Where wrongly answered ones go.")] = Path(
        "build/fuzz"
    ),
) -> None:
    """Post broken pictures; the exit status is 1 if one was not answered as it should be."""
    sources = [e for picture in read_pictures(images, pictures) for e in encodings(picture)]
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(
            ["serve", "--port", str(port)],
            f"http://127.0.0.1:{port}/health/ready",
            Path(folder) / "log",
        ) as server,
    ):
        with MemoryWatch(server) as memory:
            found = post_all(port, sources, range(count), seed)
        alive = server.alive
    for number in found.wrong:
        failures.mkdir(parents=True, exist_ok=True)
        (failures / f"{seed}-{number}").write_bytes(mutated(sources, number, seed))
    rows = [
        ("pictures", f"{count}, seed {seed}"),
        ("answers", ", ".join(f"{n} x {s}" for s, n in sorted(found.statuses.items()))),
        ("not answered as they should be", str(len(found.wrong))),
        *((f"picture {number}", said) for number, said in list(found.wrong.items())[:20]),
        *memory.rows(),
        ("the service is", "alive" if alive else "DEAD"),
    ]
    write_report("fuzz", f"{this_machine()}", rows, output)
    if found.wrong or not alive:
        raise typer.Exit(1)


def post_all(port: int, sources: Sequence[bytes], numbers: Sequence[int], seed: int) -> Found:
    """Post the pictures of these numbers over several connections."""
    found, lock, own = Found(), threading.Lock(), threading.local()

    def send(number: int) -> None:
        try:
            status, wrong = _post(own, port, mutated(sources, number, seed), TYPES[number % 3])
        except (OSError, http.client.HTTPException, ValueError) as error:
            own.connection = None
            status, wrong = 0, repr(error)
        with lock:
            found.statuses[status] += 1
            if wrong:
                found.wrong[number] = wrong

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, numbers))
    return found


def _post(
    own: threading.local, port: int, picture: bytes, media_type: str
) -> tuple[int, str | None]:
    connection = getattr(own, "connection", None)
    if connection is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        own.connection = connection
    connection.request("POST", "/pose", picture, {"Content-Type": media_type})
    response = connection.getresponse()
    content = json.load(response)
    if response.status == http.client.OK:
        return response.status, None if "people" in content else "no people in the answer"
    if response.status >= http.client.INTERNAL_SERVER_ERROR:
        return response.status, f"{response.status} {content.get('detail')}"
    if response.headers.get_content_type() != PROBLEM_TYPE or not content.get("detail"):
        return response.status, f"{response.status} is no problem document"
    return response.status, None
