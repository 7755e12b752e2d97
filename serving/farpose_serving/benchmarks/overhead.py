"""`farpose bench overhead`: what the service adds to decoding and models."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import socket
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer
import uvicorn
from numpy.typing import NDArray

from farpose.benchmarks.machine import this_machine
from farpose.engine import ModelMetadata, Tensors
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.repository import default_repository
from farpose_serving.app import create_app
from farpose_serving.benchmarks.engines import read_pictures
from farpose_serving.benchmarks.reports import write_report
from farpose_serving.benchmarks.servers import Server, free_port
from farpose_serving.request_ids import REQUEST_ID_HEADER
from farpose_serving.settings import Settings

MODELS: Final = ("decode", "detector", "pose")
"""Stages that are not the service's."""


class NobodyEngine:
    """Finds nobody, at once; the models' metadata are real."""

    def __init__(self, inner: OnnxRuntimeEngine) -> None:
        self._inner = inner

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """Zeros in the shapes that the contracts say, without a run."""
        metadata = await self._inner.metadata(model)
        batch = len(next(iter(inputs.values())))
        return {
            output.name: np.zeros([batch, *(size or 1 for size in output.shape[1:])], output.dtype)
            for output in metadata.outputs
        }

    async def metadata(self, model: str) -> ModelMetadata:
        """Of the real model."""
        return await self._inner.metadata(model)

    async def models(self) -> tuple[ModelMetadata, ...]:
        """The real ones."""
        return await self._inner.models()


def overhead(
    images: Annotated[Path, typer.Argument(help="A folder of JPEG pictures to send.")],
    requests: Annotated[int, typer.Option(min=10, help="That are timed.")] = 300,
    pictures: Annotated[int, typer.Option(min=1, help="The first so many are sent.")] = 16,
    output: Annotated[Path | None, typer.Option(help="A folder for overhead.md.")] = None,
) -> None:
    """Time outside of decoding and models at one camera, and requests per second without them."""
    sent = read_pictures(images, pictures)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        ready = f"http://127.0.0.1:{port}/health/ready"
        with Server(["serve", "--port", str(port)], ready, log, {"FARPOSE_LOG_FORMAT": "json"}):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            timings = [_timed(connection, sent[i % len(sent)], str(i)) for i in range(requests)]
            connection.close()
        within = _durations(log)  # all of it is written once the service has stopped
    nobody = _requests_per_second(
        cv2.imencode(".jpg", np.zeros((64, 96, 3), np.uint8))[1], requests
    )
    models = np.array([sum(t.get(stage, 0.0) for stage in MODELS) for t in timings])
    wall = np.array([t["wall"] for t in timings])
    total = np.array([t["total"] for t in timings])
    served = np.array([within[str(i)] for i in range(requests)])

    def p50(milliseconds: Iterable[float]) -> str:
        return f"{np.median(list(milliseconds)):.2f} ms"

    rows = [
        ("outside of decode, detector and pose, p50", p50(served - models)),
        ("of it letterbox, p50", p50(t["letterbox"] for t in timings)),
        ("of it crop, p50", p50(t.get("crop", 0.0) for t in timings)),
        ("of it around the pipeline (HTTP, JSON), p50", p50(served - total)),
        ("the whole request, p50", p50(served)),
        ("the whole request as the caller sees it, p50", p50(wall)),
        ("with a 96x64 picture and models that take no time", f"{nobody:.0f} requests/s"),
    ]
    write_report("overhead", f"{this_machine()}", rows, output)


def _durations(log: Path) -> dict[str, float]:
    """Milliseconds by the id of the request, as the service has logged them."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["request_id"]: line["duration_ms"] for line in lines if "duration_ms" in line}


def _timed(
    connection: http.client.HTTPConnection, picture: bytes, identifier: str
) -> dict[str, float]:
    headers = {"Content-Type": "image/jpeg", REQUEST_ID_HEADER: identifier}
    start = time.perf_counter()
    connection.request("POST", "/pose", picture, headers)
    answer = connection.getresponse().read()
    wall = (time.perf_counter() - start) * 1e3
    return {**json.loads(answer)["timing_ms"], "wall": wall}


def _requests_per_second(picture: NDArray[Any], requests: int) -> float:
    """Of the same application over an engine that does nothing, one caller."""
    with (
        OnnxRuntimeEngine(default_repository()) as engine,
        # With the protocol named, as asyncio then switches Nagle's algorithm off.
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener,
    ):
        listener.bind(("127.0.0.1", 0))
        app = create_app(Settings(), engine=NobodyEngine(engine))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        # The caller has a process of its own, which takes no time from the service's threads.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as caller:
            asked = caller.submit(
                _seconds, listener.getsockname()[1], picture.tobytes(), requests
            ).result()
        server.should_exit = True
        thread.join()
    return requests / asked


def _seconds(port: int, picture: bytes, requests: int) -> float:
    """Until so many requests are answered, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    start = time.perf_counter()
    for _ in range(requests):
        connection.request("POST", "/pose", picture, {"Content-Type": "image/jpeg"})
        connection.getresponse().read()
    seconds = time.perf_counter() - start
    connection.close()
    return seconds
