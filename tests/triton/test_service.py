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
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from farpose.images import decode_image
from farpose_serving.triton.environment import TritonEnvironment
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE
from tests.triton.servers import READY_SECONDS, StartServer, free_ports, kill

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


def is_unavailable(answer: Answer, *statuses: int) -> bool:
    """Whether it says, within the deadline, to come back."""
    assert answer.status == answer.content["status"], answer
    assert answer.status in (statuses or (503,)), answer
    assert answer.content["type"] == f"urn:farpose:problem:{PROBLEMS[answer.status]}"
    assert answer.retry_after == "1"
    assert answer.seconds < DEADLINE_SECONDS + 1
    return True


PROBLEMS = {503: "not-ready", 504: "deadline"}


def until_ready(service: Service) -> None:
    end = time.monotonic() + RECOVERY_SECONDS
    while ask(service, "/health/ready").status != 200:
        assert time.monotonic() < end, "the service did not get ready again"
        time.sleep(0.1)


def are_alike(people: list[Any], expected: list[Any]) -> None:
    """To a thousandth of a pixel."""
    assert len(people) == len(expected)
    for a, b in zip(people, expected, strict=True):
        np.testing.assert_allclose(a["keypoints"], b["keypoints"], atol=1e-3)


@pytest.fixture
def models(repository: Path, tmp_path: Path) -> Path:
    """A repository that may be broken."""
    copy = tmp_path / "models"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns("*.safetensors", "*.png"))
    return copy


@pytest.fixture(scope="module", params=ENGINES)
def service(triton: TritonServer, request: pytest.FixtureRequest) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FARPOSE_DEADLINE_MS", "60000")  # of a busy machine; others test deadlines
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
        are_alike(answer["people"], alone[i % len(alone)])


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


def test_a_server_that_comes_late_is_killed_and_comes_back(
    repository: Path,
    pictures: list[bytes],
    start_triton: StartServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    ports = free_ports()
    url = f"127.0.0.1:{ports.grpc}"
    with ExitStack() as started, ThreadPoolExecutor(8) as callers:
        services = [
            started.enter_context(
                Service(FARPOSE, ROOT, ("--engine", engine, "--triton-url", url), until="live")
            )
            for engine in ENGINES
        ]
        for service in services:
            nobody_answers(service, pictures[0])
        server = start_triton(repository, ports=ports)
        for service in services:
            until_ready(service)
        expected = [services[0].post(picture)["people"] for picture in pictures]

        sent = [number for number in range(len(pictures)) for service in services] * 2
        running = [
            callers.submit(ask, services[turn % len(services)], "/pose", pictures[number])
            for turn, number in enumerate(sent)
        ]
        running[0].result()
        os.kill(server.pid, signal.SIGKILL)
        for number, future in zip(sent, running, strict=True):
            answer = future.result()
            if answer.status == 200:
                are_alike(answer.content["people"], expected[number])
            else:
                is_unavailable(answer, 503, 504)
        for service in services:
            nobody_answers(service, pictures[0])

        start_triton(repository, ports=ports)
        for service in services:
            until_ready(service)
            are_alike(service.post(pictures[0])["people"], expected[0])


def nobody_answers(service: Service, picture: bytes) -> None:
    assert is_unavailable(ask(service, "/health/ready"))
    assert is_unavailable(ask(service, "/pose", picture))
    assert is_unavailable(ask(service, "/models"))
    assert ask(service, "/health/live").status == 200


def cut_off(folder: Path) -> str:
    """Spoil the model's file; what the server then says."""
    (file,) = folder.glob("*/model.onnx")
    file.write_bytes(file.read_bytes()[:5000])
    return "ONNX Runtime does not load it"


def configured_wrongly(folder: Path) -> str:
    """Spoil what is said of the model; what the server then says."""
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: 100", "dims: 99"))
    return r"boxes is \[-1, 99, 4\] by config.pbtxt"


def test_a_model_that_is_unloaded_and_cannot_be_loaded_until_it_is_mended(
    models: Path,
    repository: Path,
    pictures: list[bytes],
    start_triton: StartServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
    server = start_triton(models, "--model-control-mode=explicit", "--load-model=*")
    with (
        grpc.InferenceServerClient(f"{server.host}:{server.ports.grpc}") as control,
        serve(server, "triton") as one,
        serve(server, "triton-pipeline") as other,
    ):
        expected = one.post(pictures[0])["people"]
        are_alike(other.post(pictures[0])["people"], expected)

        def is_missing() -> None:
            for service in (one, other):
                assert is_unavailable(ask(service, "/pose", pictures[0]))
                assert is_unavailable(ask(service, "/health/ready"))

        for name, spoil in (("lowres_pose", cut_off), ("person_detector", configured_wrongly)):
            control.unload_model(name)
            wait_until(lambda name=name: not control.is_model_ready(name))
            is_missing()
            with pytest.raises(InferenceServerException, match=spoil(models / name)):
                control.load_model(name)
            is_missing()
            shutil.copytree(repository / name, models / name, dirs_exist_ok=True)
            control.load_model(name)
            for service in (one, other):
                until_ready(service)
                are_alike(service.post(pictures[0])["people"], expected)


@pytest.fixture(scope="module")
def fragile(
    environment: TritonEnvironment, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TritonServer, Service]]:
    """A server and a service over its `pose_pipeline`; what is broken here stays broken."""
    log = tmp_path_factory.mktemp("fragile") / "triton.log"
    with (
        pytest.MonkeyPatch.context() as patch,
        TritonServer(environment, repository, free_ports(), log=log) as server,
    ):
        patch.setenv("FARPOSE_DEADLINE_MS", f"{DEADLINE_SECONDS * 1e3:.0f}")
        server.wait_until_ready(READY_SECONDS)
        with serve(server, "triton-pipeline") as service:
            yield server, service
        kill(server)


def test_a_server_that_hangs_and_goes_on(
    fragile: tuple[TritonServer, Service], pictures: list[bytes]
):
    server, service = fragile
    expected = service.post(pictures[0])["people"]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert is_unavailable(ask(service, "/pose", pictures[0]), 504)
        assert is_unavailable(ask(service, "/health/ready"))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    until_ready(service)
    are_alike(service.post(pictures[0])["people"], expected)


def test_an_instance_that_dies_leaves_the_others(
    fragile: tuple[TritonServer, Service], pictures: list[bytes]
):
    server, service = fragile
    expected = service.post(pictures[0])["people"]
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    instances = [pid for pid, command in commands.items() if "pose_pipeline" in command]
    assert len(instances) == 4
    os.kill(instances[0], signal.SIGKILL)
    answers = [ask(service, "/pose", pictures[0]) for _ in range(8)]
    good = [answer for answer in answers if answer.status == 200]
    assert len(good) >= 4
    for answer in good:
        are_alike(answer.content["people"], expected)
    assert all(is_unavailable(answer) for answer in answers if answer not in good)


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


def test_one_slow_model_is_not_waited_for_beyond_the_deadline(
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
    server = start_triton(models)
    for engine in ENGINES:
        with serve(server, engine) as service:
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
