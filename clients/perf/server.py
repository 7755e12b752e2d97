"""The Triton server that is measured: a child of this process, or one that runs already."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

START_SECONDS = 300
"""Its packages are installed on the first start."""

STOP_SECONDS = 60


class ServerError(RuntimeError):
    """There is no server to measure; the message says why."""


@contextlib.contextmanager
def running(repository: Path | None, log: Path) -> Iterator[str]:
    """Start `farpose triton` on free ports; `HOST:PORT` of its gRPC endpoint.

    Raises:
        ServerError: it is not ready in time.
    """
    ports = _free_ports()
    command = [sys.executable, "-m", "farpose", "triton"]
    for kind, port in ports.items():
        command += [f"--{kind}-port", str(port)]
    if repository is not None:
        command += ["--repository", str(repository)]
    with log.open("wb") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages)  # noqa: S603
    try:
        end = time.monotonic() + START_SECONDS
        while not _is_ready(ports["http"]):
            if process.poll() is not None or time.monotonic() > end:
                said = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise ServerError(f"farpose triton is not ready; it said:\n{said}")
            time.sleep(0.2)
        yield f"127.0.0.1:{ports['grpc']}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def version(url: str) -> str:
    """Of the server.

    Raises:
        ServerError: nobody answers.
    """
    try:
        with InferenceServerClient(url) as client:
            return str(client.get_server_metadata(client_timeout=10).version)
    except InferenceServerException as error:
        raise ServerError(f"no Triton server answers at {url}: {error}") from error


def failures(url: str, model: str) -> int:
    """Requests to a model that failed since the server started, as the server counts them.

    Raises:
        ServerError: nobody answers, or the server has no such model.
    """
    try:
        with InferenceServerClient(url) as client:
            statistics: Any = client.get_inference_statistics(model, client_timeout=10)
    except InferenceServerException as error:
        raise ServerError(f"{model} at {url}: {error}") from error
    return sum(stats.inference_stats.fail.count for stats in statistics.model_stats)


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(3)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        numbers = [int(probe.getsockname()[1]) for probe in sockets]
    return dict(zip(("http", "grpc", "metrics"), numbers, strict=True))


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
