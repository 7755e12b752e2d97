"""A real service in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

START_SECONDS = 180


class Service:
    """`farpose serve` on a free port, started on entry and stopped by SIGTERM on exit.

    Args:
        farpose: the command to run.
        cwd: its working directory.
        arguments: more of the command line.
        until: which of /health to wait for.
    """

    def __init__(
        self, farpose: Path, cwd: Path, arguments: tuple[str, ...] = (), until: str = "ready"
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [str(farpose), "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += arguments
        self._cwd = cwd
        self._health = f"{self.url}/health/{until}"

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, cwd=self._cwd)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self._health, timeout=5):
                    return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"{self._health} did not answer (exit code {self.process.poll()})")

    def __exit__(self, *exception: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def post(self, picture: bytes, query: str = "", media_type: str = "image/jpeg") -> Any:
        """The answer of POST /pose."""
        request = urllib.request.Request(
            f"{self.url}/pose{query}", picture, {"Content-Type": media_type}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
