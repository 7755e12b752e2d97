"""docker/Dockerfile.api: its own steps are performed, and its service is started as it says."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docker.image import Image
from tests.docker.namespace import Namespace

READY_SECONDS = 90
SLIM_LIBRARIES = {
    "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libmvec.so.1",
    "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1",
}  # fmt: skip
"""What Debian's slim image and Python's have of the libraries that wheels may expect."""


@pytest.fixture(scope="module")
def image(namespace: Namespace, context: Path) -> Image:
    """Built, and read-only from then on."""
    built = Image(namespace, ROOT / "docker/Dockerfile.api", context)
    built.make_read_only()
    return built


def test_the_image_serves_as_a_user_without_rights_on_a_read_only_root(
    image: Image, bus: Path, tmp_path: Path
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    health = image.command(*image.health, FARPOSE_PORT=port)
    assert image.stage.user == "10001:10001"
    assert subprocess.run(health, capture_output=True, check=False).returncode == 1

    command = image.command(*image.default, FARPOSE_PORT=port)
    log = tmp_path / "service.log"
    with (
        log.open("w") as messages,
        subprocess.Popen(command, stdout=messages, stderr=messages) as service,
    ):
        try:
            end = time.monotonic() + READY_SECONDS
            while subprocess.run(health, capture_output=True, check=False).returncode:
                assert service.poll() is None, log.read_text()
                assert time.monotonic() < end, "it did not get ready"
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/pose", bus.read_bytes(), {"Content-Type": "image/jpeg"}
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                assert len(json.load(response)["people"]) >= 3
            assert image.stage.said["STOPSIGNAL"].value == "SIGTERM"
        finally:
            service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    assert "telemetry" not in log.read_text().lower()


def test_the_root_is_read_only_and_the_user_is_nobody(image: Image):
    look = "id -u; touch /tmp/x /opt/farpose/x; grep CapBnd /proc/self/status"
    done = subprocess.run(
        image.command("sh", "-c", look), capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["10001", "CapBnd:", "0000000000000000"]
    assert done.stderr.count("Read-only file system") == 2


def test_the_wheels_need_no_library_that_slim_images_lack(image: Image):
    def lines(command: str) -> str:
        return subprocess.run(
            image.command("sh", "-c", command), capture_output=True, text=True, check=False
        ).stdout

    files = "find /opt/farpose -name '*.so*' -type f"
    found = re.findall(r"^\t(\S+) => (?!/opt/farpose)\S+", lines(f"{files} | xargs ldd"), re.M)
    # A wheel's own libraries find each other by whoever loads them first; ldd does not know.
    brought = {path.rpartition("/")[2] for path in lines(files).splitlines()}
    assert {"libc.so.6"} <= set(found) - brought <= SLIM_LIBRARIES


def test_the_image_holds_no_installer_and_no_training(image: Image):
    packages = subprocess.run(
        image.command("sh", "-c", "ls /opt/farpose/bin /opt/farpose/lib/python3*/site-packages"),
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {"farpose", "farpose_serving", "onnxruntime"} <= set(packages)
    assert not {"pip", "uv", "hatchling", "torch", "timm", "pytest"} & set(packages)
