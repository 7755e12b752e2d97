"""Connecting to a Ray cluster, or starting one on this machine for as long as a job lasts.

Nothing is reported to Ray's makers from a cluster that is started here, and it has no dashboard.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from farpose.cores import usable_cores
from farpose.extras import how_to_install

LOCAL: Final = "local"
CLIENT_SCHEME: Final = "ray://"
OBJECT_STORE_BYTES: Final = 128 * 2**20
"""Shared memory of a cluster that is started here: it holds the results of a file until they are
fetched, and Ray moves what does not fit to the disk."""

_CONNECT_SECONDS: Final = 5.0
# The head of a ray:// cluster starts a process for each client by forking one that has threads, and
# on a busy machine that process now and then ends before it serves; the next one does.
_CONNECT_ATTEMPTS: Final = 3
_NOT_STARTED: Final = "Starting Ray client server failed"
# A socket's path may have 107 characters, and Ray appends about 75.
_LONGEST_FOLDER: Final = 30


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class ClusterSettings:
    """Where files are processed.

    Raises:
        ClusterError: a number is not positive, or the address cannot be one.
    """

    address: str
    """`local`, `HOST:PORT` of the head of a cluster that this machine is part of, or
    `ray://HOST:PORT` of its client server."""

    workers: int | None = None
    """At most so many; as many as the cluster has cores for if not given."""

    threads: int = 1
    """Cores that each worker asks for, and threads of each of its models."""

    attempts: int = 3
    """A file is given up after so many failures."""

    patience: float = 20.0
    """Seconds that whoever is at the address has to show that it is a Ray cluster."""

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ClusterError(f"{name} is {value}: it must be at least 1")
        if self.address != LOCAL:
            _host_and_port(self.address)


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: ModuleType
    """The package, imported with the settings it reads at that time."""

    settings: ClusterSettings
    workers: int
    """To start."""

    scratch: Path | None
    """A folder of the cluster for unfinished results, gone with it; None where machines have their
    own."""


@contextlib.contextmanager
def connected(settings: ClusterSettings) -> Iterator[Cluster]:
    """Connect to the cluster, or start one here; both end with the context.

    Raises:
        ClusterError: nothing answers at the address, or it is no Ray cluster, this process has a
            connection already, or Ray is not installed.
    """
    ray = _import_ray()
    if ray.is_initialized():
        raise ClusterError(
            "this process is connected to a Ray cluster already: call ray.shutdown() first"
        )
    with contextlib.ExitStack() as resources:
        resources.callback(ray.shutdown)
        scratch = None
        if settings.address == LOCAL:
            scratch = resources.enter_context(_started(ray, settings))
        else:
            _join(ray, settings)
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < settings.threads:
            raise ClusterError(
                f"the cluster at {settings.address} has {cores} cores, and a worker asks for "
                f"{settings.threads}"
            )
        fitting = cores // settings.threads
        yield Cluster(ray, settings, min(settings.workers or fitting, fitting), scratch)


def _import_ray() -> ModuleType:
    # Ray reads these when it is imported: no telemetry, and no sending of a project folder to the
    # workers where this runs under `uv run`.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ClusterError(
            f"Ray is not installed ({error}): {how_to_install('serve', 'ray')}"
        ) from error


@contextlib.contextmanager
def _started(ray: ModuleType, settings: ClusterSettings) -> Iterator[Path]:
    """A cluster on this machine that leaves nothing behind."""
    workers = settings.workers or max(1, usable_cores() // settings.threads)
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST_FOLDER:
        parent = "/tmp"  # noqa: S108 (mkdtemp makes the folder in it private)
    with contextlib.ExitStack() as resources:
        folder = resources.enter_context(
            tempfile.TemporaryDirectory(
                prefix="farpose-ray-", dir=parent, ignore_cleanup_errors=True
            )
        )
        resources.enter_context(_own_token())
        # Before the folder goes, its users do.
        resources.callback(ray.shutdown)
        ray.init(
            address=LOCAL,
            num_cpus=workers * settings.threads,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            configure_logging=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        yield Path(folder)


def _join(ray: ModuleType, settings: ClusterSettings) -> None:
    """Connect to a running cluster; a wrong address is found before Ray waits for minutes."""
    address = settings.address
    host, port = _host_and_port(address)
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {address} ({error.strerror or error}): is the cluster running? "
            "`ray start --head` prints its address"
        ) from error
    if not address.startswith(CLIENT_SCHEME):
        _check_health(address, settings.patience)
    for attempt in range(_CONNECT_ATTEMPTS):
        try:
            ray.init(address=address, configure_logging=False, log_to_driver=False)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = " ".join(str(error).split())
            if _NOT_STARTED in reason and attempt + 1 < _CONNECT_ATTEMPTS:
                continue
            raise ClusterError(f"{address} cannot be used as a Ray cluster: {reason}") from error
        return


def _check_health(address: str, patience: float) -> None:
    """Ask in a process of its own: the driver would wait two minutes and then end itself."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(  # noqa: S603 (no shell, and the address is host:port)
            command, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"{address} accepts connections and does not answer as the head of a Ray cluster"
        ) from None
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ClusterError(f"{address} does not answer as the head of a Ray cluster: {last}")


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.removeprefix(CLIENT_SCHEME).rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ClusterError(
            f"{address!r} is no address of a Ray cluster: give local, HOST:PORT or ray://HOST:PORT"
        )
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """Let only this process use a local cluster; Ray would write a token to the home folder."""
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        yield
        return
    logger = logging.getLogger("ray")
    level = logger.level
    # Ray warns that tokens are on.
    logger.setLevel(logging.ERROR)
    os.environ["RAY_AUTH_TOKEN"] = _token()
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN"]
        logger.setLevel(level)


@functools.cache
def _token() -> str:
    """Ray keeps the first token that a process has."""
    return secrets.token_hex(32)
