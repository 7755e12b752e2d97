"""`--ray ADDRESS`: a running cluster, and what answers wrongly or not at all."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from farpose.cli import main
from farpose.cluster.connection import ClusterError, ClusterSettings, connected

TOKEN = "a" * 64


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def heads() -> Iterator[tuple[str, str]]:
    """The two addresses of a cluster that somebody else started, with a token."""
    port, client_port = free_port(), free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    settings = {
        "port": port,
        "num-cpus": 2,
        "num-gpus": 0,
        "object-store-memory": 80 * 2**20,
        "ray-client-server-port": client_port,
        "dashboard-agent-listen-port": free_port(),
        "include-dashboard": "false",
    }
    command += [f"--{name}={value}" for name, value in settings.items()]
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with (
        tempfile.TemporaryDirectory(
            prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder,
        subprocess.Popen(
            [*command, f"--temp-dir={folder}"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if "Ray runtime started" in line:
                break
        try:
            yield f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["farpose", "predict", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_does_not_answer_is_one_line(
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    picture, target = tmp_path / "picture.jpg", tmp_path / "people.jsonl"
    picture.write_bytes(b"never opened")
    target.write_text("from yesterday\n")
    address = f"{scheme}127.0.0.1:{free_port()}"
    arguments = [str(picture), "--output", str(target), "--overwrite", "--ray", address]
    assert run(arguments, monkeypatch) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: nothing answers at {address} (Connection refused)")
    assert target.read_text() == "from yesterday\n"


def test_a_client_server_that_does_not_start_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    failure = ConnectionAbortedError(
        "Initialization failure from server:\nRuntimeError: Starting Ray client server failed."
    )
    ray = importlib.import_module("ray")
    init = Mock(side_effect=[failure, failure, None])
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = ClusterSettings(f"ray://127.0.0.1:{server.getsockname()[1]}")
        with connected(settings) as cluster:
            assert cluster.workers == 2
        assert init.call_count == 3
        init.side_effect = [failure] * 3
        with pytest.raises(ClusterError, match="Starting Ray client server failed"):
            connected(settings).__enter__()
        init.side_effect = [ConnectionError("another reason")]
        with pytest.raises(ClusterError, match="another reason"):
            connected(settings).__enter__()


def test_a_server_that_is_no_cluster_is_found_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = ClusterSettings(address, patience=1)
        with pytest.raises(ClusterError, match="does not answer as the head of a Ray cluster"):
            connected(settings).__enter__()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install '.\[serve,ray\]'"):
        connected(ClusterSettings("local")).__enter__()


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:ray", "head:99999", ""])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(ClusterError, match="is no address of a Ray cluster"):
        ClusterSettings(address)


def predict_on(head: str, token: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`farpose predict --ray` in a process of its own: Ray keeps the first token it is given."""
    command = [sys.executable, "-m", "farpose", "predict", "--detector-size", "320"]
    return subprocess.run(
        [*command, "--ray", head, *map(str, arguments)],
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_running_cluster_does_jobs_at_both_of_its_addresses(
    heads: tuple[str, str], data: Path, tmp_path: Path
):
    picture, target = data / "coco_mini/val/000000000785.jpg", tmp_path / "people.jsonl"
    for head in heads:
        done = predict_on(head, TOKEN, picture, "--output", target)
        assert (done.returncode, done.stderr) == (0, "")
        (document,) = (json.loads(line) for line in target.read_text().splitlines())
        assert document["source"] == str(picture) and document["people"]
        target.unlink()


def test_a_cluster_without_room_for_a_worker_says_so(heads: tuple[str, str], data: Path):
    head, picture = heads[0], data / "coco_mini/val/000000000785.jpg"
    refused = predict_on(head, TOKEN, picture, "--worker-threads", 3)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: the cluster at {head} has 2 cores, and a worker asks for 3\n"
    )


def test_a_cluster_with_another_token_says_so(
    heads: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    with pytest.raises(ClusterError, match=r"the head of a Ray cluster: .*InvalidAuthToken"):
        connected(ClusterSettings(heads[0])).__enter__()
