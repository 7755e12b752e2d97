"""`farpose serve`: one process that serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from farpose.engines.onnxruntime import Device
from farpose_serving.logs import configure_logging
from farpose_serving.server import serve_alone, serve_workers
from farpose_serving.settings import EngineName, load_settings


def serve(
    engine: Annotated[
        EngineName | None, typer.Option(help="What runs the models [FARPOSE_ENGINE]")
    ] = None,
    triton_url: Annotated[
        str | None, typer.Option(help="HOST:PORT of Triton's gRPC endpoint [FARPOSE_TRITON_URL]")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where they run [FARPOSE_DEVICE]")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, 127.0.0.1 [FARPOSE_HOST]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, 8080 [FARPOSE_PORT]")] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Model repository, the bundled one [FARPOSE_REPOSITORY]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes, with a Triton engine [FARPOSE_WORKERS]")
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", help="A TOML file of settings; environment and options win."),
    ] = None,
) -> None:
    """Serve POST /pose and WS /stream until Ctrl-C or SIGTERM."""
    options: dict[str, Any] = {
        "engine": engine,
        "triton_url": triton_url,
        "device": device,
        "host": host,
        "port": port,
        "repository": repository,
        "workers": workers,
    }
    given = {name: value for name, value in options.items() if value is not None}
    settings = load_settings(settings_file, **given)
    configure_logging(settings.log_format)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if settings.workers > 1:
        serve_workers(settings)
    else:
        asyncio.run(serve_alone(settings))


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End with exit code 0; uvicorn calls it again once it has shut down."""
    sys.exit(0)
