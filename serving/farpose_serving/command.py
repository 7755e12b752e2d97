"""`farpose serve`: one process that serves until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
import uvicorn

from farpose.engines.onnxruntime import Device
from farpose_serving.app import create_app
from farpose_serving.settings import EngineName, Settings

SHUTDOWN_SECONDS: Final = 10
"""Requests that still run after a signal are given this long."""

logger = logging.getLogger(__name__)


class AddressError(RuntimeError):
    """The address cannot be listened on."""


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
) -> None:
    """Serve POST /pose over HTTP until Ctrl-C or SIGTERM."""
    options: dict[str, Any] = {
        "engine": engine,
        "triton_url": triton_url,
        "device": device,
        "host": host,
        "port": port,
        "repository": repository,
    }
    settings = Settings(**{name: value for name, value in options.items() if value is not None})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    app = create_app(settings)
    # Taken first, so that a port in use is not found out after the models are loaded; nobody can
    # connect before the server listens.
    with _bound_socket(settings.host, settings.port) as listener:
        # Started here and not by uvicorn, which would log a traceback where one line says it all.
        async with app.router.lifespan_context(app):
            config = uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            logger.info("Farpose serves on http://%s:%d (Ctrl-C stops it)", host, settings.port)
            await uvicorn.Server(config).serve(sockets=[listener])


def _bound_socket(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"--host {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise AddressError(
            f"{host} port {port}: {error.strerror}; stop what uses it or choose another --port"
        ) from error
    return listener


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End with exit code 0; uvicorn calls it again once it has shut down."""
    sys.exit(0)
