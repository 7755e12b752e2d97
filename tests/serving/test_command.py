"""`farpose serve` as a real process, over real HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.service import Service
from tests.serving.encoded import huge_png

FARPOSE = Path(sys.executable).with_name("farpose")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service(FARPOSE, ROOT) as service:
        yield service


def send(
    service: Service, body: bytes | Iterable[bytes], media_type: str = "image/jpeg"
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request("POST", "/pose", body, {"Content-Type": media_type})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def multipart(picture: bytes) -> tuple[bytes, str]:
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    return head + picture + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut"


def peak_memory(service: Service) -> int:
    """Most bytes the process ever had in memory."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_raw_multipart_base64_and_chunked_find_the_same_people(
    service: Service, pictures: list[bytes]
):
    picture = pictures[0]
    value = base64.b64encode(picture).decode()
    in_json = json.dumps({"image": {"type": "base64", "value": value}}).encode()
    answers = [
        send(service, picture),
        send(service, *multipart(picture)),
        send(service, in_json, "application/json"),
        send(service, iter([picture[:5000], picture[5000:]])),
    ]
    assert [status for status, _ in answers] == [200] * 4
    people = [answer["people"] for _, answer in answers]
    assert people[0]
    assert people == [people[0]] * 4


def test_a_small_file_of_400_million_pixels_takes_no_memory(service: Service):
    before = peak_memory(service)
    status, problem = send(service, huge_png(20_000), "image/png")
    assert (status, problem["type"]) == (413, "urn:farpose:problem:too-large")
    assert peak_memory(service) - before < 50e6


def test_a_chunked_body_over_the_limit_is_not_kept_in_memory(service: Service, small_jpeg: bytes):
    before = peak_memory(service)
    status, problem = send(service, (bytes(1_000_000) for _ in range(300)))
    assert (status, problem["type"]) == (413, "urn:farpose:problem:too-large")
    assert peak_memory(service) - before < 100e6
    assert send(service, small_jpeg)[0] == 200


def test_a_declared_length_over_the_limit_is_answered_before_the_body(service: Service):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.putrequest("POST", "/pose")
    connection.putheader("Content-Type", "image/jpeg")
    connection.putheader("Content-Length", "999999999999")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "ctrl-c"])
def test_a_signal_stops_it_cleanly(number: signal.Signals, small_jpeg: bytes):
    with Service(FARPOSE, ROOT) as service:
        assert service.post(small_jpeg)["people"] == []
        service.process.send_signal(number)
        assert service.process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # no such folder
        (["--repository", "{tmp}/nowhere"], "nowhere: no such model repository"),
        # the detector alone is not enough
        (["--repository", "{tmp}/half"], "no model 'lowres_pose'"),
        # a pose model under the detector's name
        (["--repository", "{tmp}/mixed"], "person_detector is not a detector"),
        # taken by this test
        (["--port", "{taken}"], "use"),
        # no address of this machine
        (["--host", "192.0.2.1"], "192.0.2.1"),
        # settings that do not go together
        (["--workers", "2"], "error: workers: several processes"),
    ],
    ids=["no repository", "no pose model", "wrong model", "port in use", "no address", "workers"],
)
def test_what_cannot_start_says_why_in_one_line(
    repository: Path, tmp_path: Path, arguments: list[str], words: str
):
    shutil.copytree(repository / "person_detector", tmp_path / "half" / "person_detector")
    shutil.copytree(repository / "lowres_pose", tmp_path / "mixed" / "lowres_pose")
    wrong = shutil.copytree(repository / "lowres_pose", tmp_path / "mixed" / "person_detector")
    config = (wrong / "config.pbtxt").read_text()
    (wrong / "config.pbtxt").write_text(config.replace('"lowres_pose"', '"person_detector"'))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        filled = [part.format(tmp=tmp_path, taken=port) for part in arguments]
        free = [] if "--port" in filled else ["--port", "18099"]
        done = subprocess.run(
            [FARPOSE, "serve", *filled, *free],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "FARPOSE_HOST": "127.0.0.1"},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
