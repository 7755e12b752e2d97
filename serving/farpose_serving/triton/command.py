"""`farpose triton`."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from farpose.package_folders import default_folder
from farpose.repository import default_repository
from farpose_serving.triton.environment import prepare
from farpose_serving.triton.server import Ports, TritonServer

READY_SECONDS: Final = 120


class ControlMode(StrEnum):
    """How models are loaded and unloaded."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


def triton(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: arguments of tritonserver itself.", metavar="[-- ARGUMENTS]"
        ),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Model repository; the bundled one when not given.")
    ] = None,
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = Ports.http,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = Ports.grpc,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535)] = Ports.metrics,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model_control_mode: Annotated[
        ControlMode, typer.Option(help="How models are loaded and unloaded.")
    ] = ControlMode.NONE,
    verbose: Annotated[
        int, typer.Option("--log-verbose", min=0, help="Triton's own log level.")
    ] = 0,
    environment: Annotated[
        Path | None, typer.Option(help="Where its packages are kept; ~/.cache/farpose by default.")
    ] = None,
) -> None:
    """Run a real Triton server on this machine, without Docker, until Ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    folder = environment or default_folder()
    typer.echo(f"Triton's packages are in {folder}; the first start installs them", err=True)
    passed = [
        f"--model-control-mode={model_control_mode}",
        f"--log-verbose={verbose}",
        *(arguments or ()),
    ]
    server = TritonServer(
        prepare(folder),
        repository or default_repository(),
        Ports(http_port, grpc_port, metrics_port),
        host,
        passed,
    )
    with server:
        server.wait_until_ready(READY_SECONDS)
        typer.echo(
            f"Triton serves HTTP on {host}:{http_port}, gRPC on {host}:{grpc_port}, metrics on "
            f"{host}:{metrics_port} (Ctrl-C stops it)",
            err=True,
        )
        server.wait()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise typer.Exit(0)
