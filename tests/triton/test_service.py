"""`farpose serve` over a real Triton server, in good times and in bad ones."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.grpc as grpc

from farpose.images import decode_image
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE
from tests.triton.servers import StartServer, free_ports

ENGINES = ("triton", "triton-pipeline")
DEADLINE_SECONDS = 2.0
RECOVERY_SECONDS = 30


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    content: Any
    retry_after: str | None
    seconds: float


def serve(server: TritonServer, engine: str) -> Service:
    url = f"{server.host}:{server.ports.grpc}"
    return Service(FARPOSE, ROOT, ("--engine", engine, "--triton-url", url))


def ask(service: Service, path: str, picture: bytes | None = None) -> Answer:
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        headers = {"Content-Type": "image/jpeg"}
        connection.request("GET" if picture is None else "POST", path, picture, headers)
        response = connection.getresponse()
        content = json.load(response)
        seconds = time.monotonic() - start
        return Answer(response.status, content, response.headers["Retry-After"], seconds)
    finally:
        connection.close()


def is_unavailable(answer: Answer, status: int = 503) -> bool:
    """Whether it says, within the deadline, to come back."""
    assert answer.status == answer.content["status"] == status, answer
    assert answer.content["type"] == f"urn:farpose:problem:{PROBLEMS[status]}"
    assert answer.retry_after == "1"
    assert answer.seconds < DEADLINE_SECONDS + 1
    return True


PROBLEMS = {503: "not-ready", 504: "deadline"}


def until_ready(service: Service) -> None:
    end = time.monotonic() + RECOVERY_SECONDS
    while ask(service, "/health/ready").status != 200:
        assert time.monotonic() < end, "the service did not get ready again"
        time.sleep(0.1)


@pytest.fixture
def models(repository: Path, tmp_path: Path) -> Path:
    """A repository that may be broken."""
    copy = tmp_path / "models"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns("*.safetensors", "*.png"))
    return copy


@pytest.fixture(scope="module", params=ENGINES)
def service(triton: TritonServer, request: pytest.FixtureRequest) -> Iterator[Service]:
    with serve(triton, request.param) as service:
        yield service


@pytest.fixture(scope="module")
def embedded() -> Iterator[Service]:
    with Service(FARPOSE, ROOT) as service:
        yield service


def test_people_are_those_of_the_embedded_engine(
    service: Service, embedded: Service, pictures: list[bytes]
):
    for picture in pictures:
        for query in ("", "?variances=true&detector_size=320", "?boxes=20,20,70,120"):
            here, there = (one.post(picture, query) for one in (embedded, service))
            assert here["image"] == there["image"]
            assert here["models"] == there["models"]
            assert here["keypoint_names"] == there["keypoint_names"]
            assert len(here["people"]) == len(there["people"])
            for a, b in zip(here["people"], there["people"], strict=True):
                assert a.keys() == b.keys()
                for name in a.keys() - {"model"}:
                    np.testing.assert_allclose(a[name], b[name], atol=1e-3)


def test_each_of_many_callers_gets_the_people_of_his_picture(
    service: Service, pictures: list[bytes]
):
    alone = [service.post(picture)["people"] for picture in pictures]
    with ThreadPoolExecutor(16) as callers:
        crowd = list(callers.map(service.post, pictures * 4))
    for i, answer in enumerate(crowd):
        expected = alone[i % len(alone)]
        assert len(answer["people"]) == len(expected)
        for a, b in zip(answer["people"], expected, strict=True):
            np.testing.assert_allclose(a["keypoints"], b["keypoints"], atol=1e-3)


@pytest.mark.parametrize(
    ("picture", "query", "status", "words"),
    [
        (b"nothing", "", 400, "not a picture"),
        (b"", "", 400, "empty"),
        (b"GIF89a" + bytes(40), "", 400, "picture"),
        (None, "?pose_model=tall", 422, "no model 'tall'"),
        (None, "?boxes=99000,0,99010,10", 422, "outside"),
        (None, "?detector_sizes=3", 422, "detector_sizes"),
    ],
)
def test_bad_requests_are_the_callers(
    service: Service,
    pictures: list[bytes],
    picture: bytes | None,
    query: str,
    status: int,
    words: str,
):
    answer = ask(service, f"/pose{query}", pictures[0] if picture is None else picture)
    assert answer.status == status, answer
    assert words in answer.content["detail"]
    assert "Triton" not in answer.content["detail"]


def test_models_and_pictures_are_served(service: Service, pictures: list[bytes]):
    names = {model["name"] for model in ask(service, "/models").content["models"]}
    assert names >= {"person_detector", "lowres_pose", "pose_pipeline"}
    request = urllib.request.Request(
        f"{service.url}/pose?format=image", pictures[0], {"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["Content-Type"] == "image/jpeg"
        assert decode_image(response.read()).shape == decode_image(pictures[0]).shape


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_comes_late_is_killed_and_comes_back(
    engine: str,
    repository: Path,
    pictures: list[bytes],
    start_triton: StartServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    ports = free_ports()
    arguments = ("--engine", engine, "--triton-url", f"127.0.0.1:{ports.grpc}")
    with (
        Service(FARPOSE, ROOT, arguments, until="live") as service,
        ThreadPoolExecutor(8) as callers,
    ):
        nobody_answers(service, pictures[0])
        server = start_triton(repository, ports=ports)
        until_ready(service)
        expected = service.post(pictures[0])["people"]

        running = [callers.submit(ask, service, "/pose", pictures[0]) for _ in range(24)]
        running[0].result()
        os.kill(server.pid, signal.SIGKILL)
        for answer in (future.result() for future in running):
            if answer.status == 200:
                assert len(answer.content["people"]) == len(expected)
            else:
                is_unavailable(answer)
        nobody_answers(service, pictures[0])

        start_triton(repository, ports=ports)
        until_ready(service)
        assert len(service.post(pictures[0])["people"]) == len(expected)


def nobody_answers(service: Service, picture: bytes) -> None:
    assert is_unavailable(ask(service, "/health/ready"))
    assert is_unavailable(ask(service, "/pose", picture))
    assert is_unavailable(ask(service, "/models"))
    assert ask(service, "/health/live").status == 200


def test_a_model_that_is_unloaded_and_loaded_again(
    models: Path, pictures: list[bytes], start_triton: StartServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    server = start_triton(models, "--model-control-mode=explicit", "--load-model=*")
    with (
        grpc.InferenceServerClient(f"{server.host}:{server.ports.grpc}") as control,
        serve(server, "triton") as one,
        serve(server, "triton-pipeline") as other,
    ):
        for service in (one, other):
            assert service.post(pictures[0])["people"]
            for name in ("lowres_pose", "person_detector"):
                control.unload_model(name)
                wait_until(lambda name=name: not control.is_model_ready(name))
                assert is_unavailable(ask(service, "/pose", pictures[0]))
                assert is_unavailable(ask(service, "/health/ready"))
                control.load_model(name)
                until_ready(service)
                assert service.post(pictures[0])["people"]


def test_an_instance_that_dies_leaves_the_others(
    repository: Path,
    pictures: list[bytes],
    start_triton: StartServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    server = start_triton(repository)
    with serve(server, "triton-pipeline") as service:
        expected = service.post(pictures[0])["people"]
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        instances = [pid for pid, command in commands.items() if "pose_pipeline" in command]
        assert len(instances) == 4
        os.kill(instances[0], signal.SIGKILL)
        answers = [ask(service, "/pose", pictures[0]) for _ in range(8)]
        good = [answer for answer in answers if answer.status == 200]
        assert len(good) >= 4
        assert all(len(answer.content["people"]) == len(expected) for answer in good)
        assert all(is_unavailable(answer) for answer in answers if answer not in good)
    os.kill(server.pid, signal.SIGKILL)  # asked to stop, it waits half a minute for the dead one


SLOW_MODEL = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(SECONDS)
        answers = []
        for _ in requests:
            boxes = pb_utils.Tensor("boxes", np.zeros((1, 100, 4), np.float32))
            scores = pb_utils.Tensor("scores", np.zeros((1, 100), np.float32))
            answers.append(pb_utils.InferenceResponse(output_tensors=[boxes, scores]))
        return answers
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_one_slow_model_is_not_waited_for_beyond_the_deadline(
    engine: str,
    models: Path,
    pictures: list[bytes],
    start_triton: StartServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    folder = models / "person_detector"
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("onnxruntime", "python"))
    (folder / "1/model.py").write_text(SLOW_MODEL.replace("SECONDS", "5"))
    with serve(start_triton(models), engine) as service:
        with ThreadPoolExecutor(3) as callers:
            answers = list(callers.map(lambda p: ask(service, "/pose", p), pictures[:3]))
        assert all(is_unavailable(answer, 504) for answer in answers)
        boxes = ask(service, "/pose?boxes=20,20,70,120", pictures[0])
        assert boxes.status == 200 or engine == "triton-pipeline"


def wait_until(condition: Any) -> None:
    end = time.monotonic() + RECOVERY_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
