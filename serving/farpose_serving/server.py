"""The processes behind `farpose serve`: one, or several that share its socket."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from farpose_serving.access import Keys
from farpose_serving.app import create_app
from farpose_serving.hang_up import AbortingWebSockets
from farpose_serving.http_connections import BoundedHttp
from farpose_serving.logs import configure_logging
from farpose_serving.metrics import SHARED_FOLDER
from farpose_serving.settings import Settings
from farpose_serving.tracing import check_tracing

SHUTDOWN_SECONDS: Final = 10
"""Requests that still run after a signal are given this long."""

logger = logging.getLogger(__name__)


class AddressError(RuntimeError):
    """The address cannot be listened on."""


class WorkersError(RuntimeError):
    """A worker could not start."""


async def serve_alone(settings: Settings) -> None:
    """Serve in this process until a signal comes.

    Raises:
        AddressError: the address cannot be listened on.
        RepositoryError, EngineError: the models cannot be served.
    """
    app = create_app(settings)
    # Taken first, so that a port in use is not found out after the models are loaded; nobody can
    # connect before the server listens.
    with bound_socket(settings.host, settings.port) as listener:
        # Started here and not by uvicorn, which would log a traceback where one line says it all.
        async with app.router.lifespan_context(app):
            _say(settings)
            config = _config(app, settings, lifespan="off")
            await uvicorn.Server(config).serve(sockets=[listener])


def serve_workers(settings: Settings) -> None:
    """Serve in several processes until a signal comes; one that dies is started again.

    Raises:
        AddressError: the address cannot be listened on.
        TracingUnavailableError: traces are to be sent, and the packages are not installed.
        KeysError: the file of keys cannot be used.
        WorkersError: a worker could not start.
    """
    # Here, once, where it is one line, and not in workers that are started again and again.
    if settings.tracing_endpoint is not None:
        check_tracing()
    if settings.api_keys_file is not None:
        Keys.read(settings.api_keys_file)
    with (
        bound_socket(settings.host, settings.port) as listener,
        tempfile.TemporaryDirectory(prefix="farpose-metrics-", dir=_memory()) as shared,
    ):
        # The workers are new interpreters that read it when they import prometheus_client.
        os.environ[SHARED_FOLDER] = shared
        _say(settings)
        app = partial(_worker_app, settings)
        config = _config(app, settings, factory=True, lifespan="on", workers=settings.workers)
        workers = Multiprocess(config, [listener])
        workers.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes):
        raise WorkersError("a worker could not start: the log says why")


def _memory() -> Path | None:
    """A folder in memory, which a container has even where its disk is read-only."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    return memory if os.access(memory, os.W_OK) else None


def _worker_app(settings: Settings) -> FastAPI:
    configure_logging(settings.log_format)
    return create_app(settings)


def _config(
    app: FastAPI | Callable[[], FastAPI], settings: Settings, **more: Any
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        # uvicorn calls it as it would the class.
        http=partial(BoundedHttp, most=settings.max_connections),  # type: ignore[arg-type]
        server_header=False,
        ws=AbortingWebSockets,
        ws_max_size=settings.max_body_bytes,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        **more,
    )


def _say(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    logger.info("settings: %s", settings.shown())
    if settings.api_keys_file is None and not _is_this_machine(settings.host):
        logger.warning(
            "everybody who reaches %s may use the service: farpose new-key makes a key, "
            "FARPOSE_API_KEYS_FILE asks for it",
            host,
        )
    logger.info("Farpose serves on http://%s:%d (Ctrl-C stops it)", host, settings.port)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address, not yet listening; `AddressError` if that cannot be."""
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
