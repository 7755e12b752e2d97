"""Several processes that share one address, over a real Triton server."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import connect

from farpose_serving.service import NOTE_SECONDS
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE
from tests.triton.processes import children, command_line
from tests.triton.test_service import ask


@pytest.fixture(scope="module")
def service(triton: TritonServer) -> Iterator[Service]:
    url = f"{triton.host}:{triton.ports.grpc}"
    arguments = ("--engine", "triton", "--triton-url", url, "--workers", "2")
    with Service(FARPOSE, ROOT, arguments) as service:
        yield service
        workers = workers_of(service)
    assert service.process.returncode == 0
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110


def workers_of(service: Service) -> set[int]:
    return {pid for pid in children(service.process.pid) if b"spawn_main" in command_line(pid)}


def test_a_worker_that_dies_is_started_again_and_the_others_go_on(
    service: Service, pictures: list[bytes]
):
    before = workers_of(service)
    assert len(before) == 2
    dead = min(before)
    os.kill(dead, signal.SIGKILL)
    end, statuses = time.monotonic() + 30, []
    while len(workers_of(service) - {dead}) < 2 and time.monotonic() < end:
        statuses.append(ask(service, "/pose", pictures[0]).status)
    assert len(workers_of(service) - {dead}) == 2
    assert set(statuses) == {200}


def test_pictures_of_many_callers_are_answered(service: Service, pictures: list[bytes]):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda p: ask(service, "/pose", p), pictures * 4))
    assert {answer.status for answer in answers} == {200}
    for i, answer in enumerate(answers):
        alike = answers[i % len(pictures)].content["people"]
        assert len(answer.content["people"]) == len(alike)


def test_a_posted_camera_is_refused_and_a_streamed_one_stays_with_its_worker(
    service: Service, pictures: list[bytes]
):
    answer = ask(service, "/pose?camera_id=gate", pictures[0])
    assert answer.status == 409
    assert answer.content["type"] == "urn:farpose:problem:one-worker"
    assert "WS /stream" in answer.content["detail"]
    with connect(f"{service.url.replace('http', 'ws')}/stream") as camera:
        for number in range(3):
            camera.send(pictures[0])
            assert json.loads(camera.recv(30))["frame"] == number


def test_workers_count_together(service: Service, pictures: list[bytes]):
    def count() -> float:
        with urllib.request.urlopen(f"{service.url}/metrics") as answer:
            text = answer.read().decode()
        assert "farpose_workers 2.0" in text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("farpose_frames_total")
        )

    before = count()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda p: ask(service, "/pose", p), pictures))
    assert count() - before == len(pictures)


def test_gauges_are_of_all_workers_whichever_is_asked(service: Service):
    def sessions() -> set[str]:
        found = set()
        for _ in range(12):  # each on a connection of its own, so that both workers are asked
            with urllib.request.urlopen(f"{service.url}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            found |= {line for line in lines if line.startswith("farpose_camera_sessions ")}
        return found

    def becomes(number: int) -> None:
        end = time.monotonic() + 20  # a worker's first session waits for the tracker's import
        while sessions() != {f"farpose_camera_sessions {number}.0"}:
            assert time.monotonic() < end, sessions()
            time.sleep(NOTE_SECONDS)

    url = f"{service.url.replace('http', 'ws')}/stream"
    with ExitStack() as cameras:
        for number in range(1, 5):
            cameras.enter_context(connect(url))
            becomes(number)
    becomes(0)


def test_what_workers_share_is_in_memory_and_gone_afterwards(triton: TritonServer):
    def folders() -> set[Path]:
        return set(Path("/dev/shm").glob("farpose-metrics-*"))  # noqa: S108

    before = folders()
    url = f"{triton.host}:{triton.ports.grpc}"
    arguments = ("--engine", "triton", "--triton-url", url, "--workers", "2")
    with Service(FARPOSE, ROOT, arguments):
        assert len(folders() - before) == 1
    assert folders() <= before
