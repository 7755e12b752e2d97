"""A running `farpose triton`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from farpose_serving.triton.server import Ports
from tests.serving.test_command import FARPOSE
from tests.triton.processes import children, command_line, shared_memory
from tests.triton.servers import READY_SECONDS, free_ports

END_SECONDS = 30


class Command:
    """`farpose triton` on free ports, in a session of its own, as in a terminal."""

    def __init__(self, log: Path, *arguments: str | Path, farpose: Path = FARPOSE) -> None:
        self.ports = free_ports()
        self._log = log
        # What is installed beside the command, and not where these tests run.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # But for uv, which installs the server's packages.
        tools = [str(Path(sys.executable).parent), variables.get("PATH", os.defpath)]
        variables["PATH"] = os.pathsep.join(tools)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [farpose, "triton", *port_options(self.ports), *arguments],
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=os.environ if farpose == FARPOSE else variables,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        family = self.family
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            for pid in family:
                if command_line(pid):
                    os.kill(pid, signal.SIGKILL)

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def family(self) -> set[int]:
        """Triton's processes."""
        return children(self.process.pid)

    def server(self) -> int:
        """The process of Triton itself."""
        (pid,) = (
            pid
            for pid in self.family
            if command_line(pid).partition(b"\0")[0].endswith(b"/tritonserver")
        )
        return pid

    def until_ready(self) -> tuple[set[int], set[Path]]:
        """Triton's processes and its shared memory once it serves."""
        until(lambda: "Triton serves" in self.text or self.process.poll() is not None)
        assert self.process.poll() is None, self.text
        family = self.family
        memory = shared_memory(family)
        assert len(family) > 1
        assert memory
        return family, memory

    def ended(self, status: int) -> str:
        """What it has said when it ends with this status."""
        assert self.process.wait(END_SECONDS) == status, self.text
        return self.text


def port_options(ports: Ports) -> list[str]:
    named = {"http": ports.http, "grpc": ports.grpc, "metrics": ports.metrics}
    return [part for name, port in named.items() for part in (f"--{name}-port", str(port))]


def until(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
