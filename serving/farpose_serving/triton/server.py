"""A running Triton server as a child of this process."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from farpose_serving.triton.environment import TritonEnvironment
from farpose_serving.triton.interpreter import TritonUnavailableError

STOP_SECONDS: Final = 40
"""What it is given to finish requests and unload models; Triton itself waits 30."""

MOST_ABORTS: Final = 3
"""Of a server that is loading its models, see `TritonServer.wait_until_ready`."""

LIFELINE: Final = Path(__file__).with_name("lifeline.py")
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (where Linux keeps it)
PYTHON_BACKENDS: Final = ("python", "onnxruntime")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ports:
    """Where it listens, on the same address."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


class TritonServer:
    """Starts a server, and stops it at the end of a `with` block.

    However this process ends, the server is told to stop: it gets SIGTERM when the thread that
    started it ends, see `lifeline.py`. So start it in a thread that lives as long as it shall.

    Args:
        environment: of `prepare`.
        repository: a Triton model repository.
        ports: must be free.
        host: address to listen on.
        arguments: passed on to `tritonserver`.
        log: where its messages go; to this process's stderr when not given.

    Raises:
        TritonUnavailableError: the repository is missing, or the address cannot be listened on.
    """

    def __init__(
        self,
        environment: TritonEnvironment,
        repository: Path,
        ports: Ports | None = None,
        host: str = "127.0.0.1",
        arguments: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        self.host, self.ports = host, ports or Ports()
        if not repository.is_dir():
            raise TritonUnavailableError(f"{repository}: no such model repository")
        numbers = (self.ports.http, self.ports.grpc, self.ports.metrics)
        if len(set(numbers)) < len(numbers):
            raise TritonUnavailableError(f"ports {numbers}: give three different ones")
        for port in numbers:
            _refuse_used(host, port)
        self._memory_prefix = f"farpose_triton_{uuid.uuid4().hex[:12]}_"
        self._command = [
            sys.executable,
            "-I",
            str(LIFELINE),
            str(os.getpid()),
            str(environment.server),
            f"--model-repository={repository.resolve()}",
            f"--backend-directory={environment.backends}",
            f"--http-address={host}",
            f"--http-port={self.ports.http}",
            f"--grpc-address={host}",
            f"--grpc-port={self.ports.grpc}",
            f"--metrics-address={host}",
            f"--metrics-port={self.ports.metrics}",
            "--disable-auto-complete-config",
            *(
                f"--backend-config={name},shm-region-prefix-name={self._memory_prefix}"
                for name in PYTHON_BACKENDS
            ),
            *arguments,
        ]
        self._variables = environment.variables()
        self._log = log
        self._start()

    def _start(self) -> None:
        with contextlib.ExitStack() as files:
            output = None if self._log is None else files.enter_context(self._log.open("ab"))
            # In a group of its own: Ctrl-C of a terminal reaches this process, which passes it on.
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                env=self._variables,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def wait_until_ready(self, seconds: float) -> None:
        """Return once all models are loaded.

        Now and then this release aborts while several processes of its Python backend start at
        once. It is then started again, a few times at most.

        Raises:
            TritonUnavailableError: the server stopped, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        aborts = 0
        while not self.is_ready():
            status = self._process.poll()
            if status == -signal.SIGABRT and aborts < MOST_ABORTS:
                aborts += 1
                logger.warning("Triton aborted while it loaded its models: starting it again")
                self._start()
            elif status is not None:
                raise TritonUnavailableError(
                    f"Triton stopped before it was ready: {_ended(status)}"
                )
            if time.monotonic() > deadline:
                raise TritonUnavailableError(f"Triton is not ready after {seconds:.0f} s")
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Whether it answers, and all its models are loaded."""
        connection = http.client.HTTPConnection(self.host, self.ports.http, timeout=2)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait(self) -> None:
        """Until it stops.

        Raises:
            TritonUnavailableError: it did not stop because it was told to.
        """
        status = self._process.wait()
        if status:
            raise TritonUnavailableError(f"Triton stopped: {_ended(status)}")

    def stop(self) -> None:
        """Let it finish its requests, and end it; an exception meanwhile ends it at once."""
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            # A process that a model was just starting may have missed the end of the server.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # A server that was killed has left its memory behind.
            for region in SHARED_MEMORY.glob(f"{self._memory_prefix}*"):
                region.unlink(missing_ok=True)


def _ended(status: int) -> str:
    if status >= 0:
        return f"exit status {status}, see its messages above"
    return f"killed by {signal.Signals(-status).name}"


def _refuse_used(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise TritonUnavailableError(f"--host {host}: {error.strerror}") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise TritonUnavailableError(
                f"{host} port {port}: {error.strerror}; stop what uses it or choose another port"
            ) from error
