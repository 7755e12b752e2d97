"""Servers as children of a benchmark, and the processor time they take."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

START_SECONDS: Final = 180
STOP_SECONDS: Final = 60


class ServerError(RuntimeError):
    """A server did not start."""


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A `farpose` command that serves, started on entry and stopped on exit.

    Args:
        arguments: of `farpose`.
        ready: address that answers 200 once it serves.
        log: takes what it prints.
        variables: more of its environment.

    Raises:
        ServerError: on entry, when it is not ready in time.
    """

    def __init__(
        self,
        arguments: list[str],
        ready: str,
        log: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "farpose", *arguments]
        self._ready = ready
        self._log = log
        self._environment = {**os.environ, **(variables or {})}

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # A session of its own, by which all its processes are found.
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(self._ready, timeout=5):  # noqa: S310
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self._stop()
        raise ServerError(f"farpose {self._command[3]} did not start; it said:\n{self._said()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far, user and system."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[3]) == self._process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def resident_bytes(self) -> int:
        """Memory of the process that was started."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Files and sockets that it has open."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def threads(self) -> int:
        """Threads that it has."""
        return len(list(Path(f"/proc/{self._process.pid}/task").iterdir()))

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _said(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
