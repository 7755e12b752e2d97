"""`farpose triton` as a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.test_command import FARPOSE
from tests.triton.command import END_SECONDS, Command, port_options, until
from tests.triton.processes import command_line, shared_memory
from tests.triton.servers import READY_SECONDS, StartServer, free_ports
from tests.triton.small_models import add_model, config, identity

pytestmark = pytest.mark.usefixtures("environment")


def nothing_is_left(family: set[int], memory: set[Path]) -> None:
    until(lambda: not any(command_line(pid) for pid in family), END_SECONDS)
    assert not [path for path in memory if path.exists()]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with one tiny model."""
    add_model(tmp_path / "models", "same", identity(), config())
    return tmp_path / "models"


@pytest.fixture
def start(tmp_path: Path, models: Path) -> Iterator[Callable[..., Command]]:
    commands: list[Command] = []

    def started(*arguments: str) -> Command:
        commands.append(
            Command(tmp_path / f"{len(commands)}.log", "--repository", models, *arguments)
        )
        return commands[-1].__enter__()

    yield started
    for command in commands:
        command.__exit__()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "ctrl-c"])
def test_it_says_where_it_listens_and_a_signal_ends_it_all(
    start: Callable[..., Command], number: signal.Signals
):
    command = start()
    family, memory = command.until_ready()
    ports = command.ports
    assert (
        f"Triton serves HTTP on 127.0.0.1:{ports.http}, gRPC on 127.0.0.1:{ports.grpc}, metrics "
        f"on 127.0.0.1:{ports.metrics} (Ctrl-C stops it)"
    ) in command.text
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.http}/v2/models/same") as answer:
        assert json.load(answer)["name"] == "same"
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
        assert b"nv_inference_request_success" in answer.read()
    # A terminal signals the whole group.
    os.killpg(command.process.pid, number)
    text = command.ended(0)
    assert "Traceback" not in text
    nothing_is_left(family, memory)


def test_a_signal_while_models_load_ends_it_too(start: Callable[..., Command]):
    command = start()
    until(lambda: "TRITONBACKEND_ModelInstanceInitialize" in command.text)
    family = command.family
    memory = shared_memory(family)
    command.process.send_signal(signal.SIGTERM)
    command.ended(0)
    nothing_is_left(family, memory)


def test_a_second_signal_does_not_wait(start: Callable[..., Command]):
    command = start()
    family, memory = command.until_ready()
    os.kill(command.server(), signal.SIGSTOP)  # it will not end by itself
    command.process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    command.ended(0)
    nothing_is_left(family, memory)


def test_a_killed_server_is_said_to_be_killed(start: Callable[..., Command]):
    command = start()
    family, memory = command.until_ready()
    os.kill(command.server(), signal.SIGKILL)
    text = command.ended(1)
    assert "error: Triton stopped: killed by SIGKILL\n" in text
    nothing_is_left(family, memory)


def test_a_killed_command_takes_its_server_along(start: Callable[..., Command]):
    command = start()
    family, memory = command.until_ready()
    command.process.kill()
    command.ended(-signal.SIGKILL)
    nothing_is_left(family, memory)


def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason(
    start: Callable[..., Command], models: Path
):
    add_model(models, "broken", b"nothing", config())
    text = start().ended(1)
    assert "broken/1/model.onnx: ONNX Runtime does not load it" in text
    assert text.endswith(
        "error: Triton stopped before it was ready: exit status 1, see its messages above\n"
    )


def test_options_reach_triton(start: Callable[..., Command], models: Path):
    add_model(models, "other", identity(), config())
    command = start(
        "--model-control-mode", "explicit", "--log-verbose", "1", "--", "--load-model=other"
    )
    command.until_ready()
    url = f"http://127.0.0.1:{command.ports.http}/v2/repository/index"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}")) as answer:
        states = {model["name"]: model.get("state") for model in json.load(answer)}
    assert states == {"same": None, "other": "READY"}
    assert "Thread started for" in command.text  # verbose messages


def test_options_that_triton_does_not_know_are_said(start: Callable[..., Command]):
    text = start("--", "--no-such-option").ended(1)
    assert "no-such-option" in text
    assert "error: Triton stopped before it was ready" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repository", "/nowhere"], "/nowhere: no such model repository"),
        (["--http-port", "{taken}"], "127.0.0.1 port {taken}: Address already in use; stop what"),
        (["--grpc-port", "{taken}"], "127.0.0.1 port {taken}: Address already in use; stop what"),
        (["--metrics-port", "{taken}"], "127.0.0.1 port {taken}: Address already in use"),
        (["--http-port", "8001", "--grpc-port", "8001"], "give three different ones"),
        (["--host", "192.0.2.1"], "192.0.2.1 port"),
        (["--host", "256.0.0.1"], "--host 256.0.0.1: "),
    ],
)
def test_what_cannot_start_says_why_in_one_sentence(models: Path, arguments: list[str], words: str):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        done = subprocess.run(
            [
                *(FARPOSE, "triton", "--repository", models, *port_options(free_ports())),
                *(argument.format(taken=taken) for argument in arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=END_SECONDS,
        )
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words.format(taken=taken) in line
    assert "Traceback" not in done.stderr


def test_without_a_place_for_packages_it_says_so(models: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [FARPOSE, "triton", "--repository", models, "--environment", tmp_path / "file" / "folder"],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_SECONDS,
    )
    assert done.returncode == 1
    assert f"{tmp_path}/file/folder: cannot hold Triton's packages" in done.stderr


def test_a_server_that_aborts_while_it_loads_is_started_again(
    start_triton: StartServer, repository: Path
):
    server = start_triton(repository, ready=False)
    first = server.pid
    time.sleep(0.5)
    assert not server.is_ready()
    os.kill(first, signal.SIGABRT)
    server.wait_until_ready(READY_SECONDS)
    assert server.pid != first
