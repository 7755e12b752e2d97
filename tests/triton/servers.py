"""Real Triton servers for all tests: a shared one, and others to break or stop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farpose.package_folders import default_folder
from farpose_serving.triton.environment import TritonEnvironment, prepare
from farpose_serving.triton.interpreter import TritonUnavailableError
from farpose_serving.triton.server import Ports, TritonServer
from tests.conftest import missing
from tests.triton.loading import ModelLoader

READY_SECONDS = 180

StartServer = Callable[..., TritonServer]


def free_ports() -> Ports:
    """Three ports that nobody listens on."""
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(3)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return Ports(*(probe.getsockname()[1] for probe in sockets))


@pytest.fixture(scope="session")
def environment() -> TritonEnvironment:
    """The server's packages, made once per machine."""
    try:
        return prepare(default_folder())
    except TritonUnavailableError as error:
        missing(f"no Triton server: {error}")


@pytest.fixture(scope="session")
def triton(
    environment: TritonEnvironment, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    """A server that is ready, with the bundled models. Tests leave it as it is."""
    log = tmp_path_factory.mktemp("triton") / "server.log"
    with TritonServer(environment, repository, free_ports(), log=log) as server:
        server.wait_until_ready(READY_SECONDS)
        yield server
        kill(server)


@pytest.fixture(scope="session")
def loader(
    environment: TritonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelLoader]:
    """A server without models, which tests load models into under names of their own."""
    repository = tmp_path_factory.mktemp("small_models")
    log = tmp_path_factory.mktemp("triton") / "server.log"
    with TritonServer(
        environment,
        repository,
        free_ports(),
        arguments=["--model-control-mode=explicit"],
        log=log,
    ) as server:
        server.wait_until_ready(READY_SECONDS)
        yield ModelLoader(server, repository, log)
        kill(server)


@pytest.fixture
def start_triton(environment: TritonEnvironment, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers over other repositories, for tests that break or stop them.

    Its messages are in `tmp_path / "triton.log"`. Servers are killed after the test: asked to stop,
    Triton waits up to half a minute for models that are slow or dead.
    """
    with contextlib.ExitStack() as servers:

        def start(
            repository: Path, *arguments: str, ready: bool = True, ports: Ports | None = None
        ) -> TritonServer:
            server = servers.enter_context(
                TritonServer(
                    environment,
                    repository,
                    ports or free_ports(),
                    arguments=arguments,
                    log=tmp_path / "triton.log",
                )
            )
            servers.callback(kill, server)
            if ready:
                server.wait_until_ready(READY_SECONDS)
            return server

        yield start


def kill(server: TritonServer) -> None:
    """End a server at once, if it still runs."""
    server._process.kill()
