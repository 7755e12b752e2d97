"""docker/Dockerfile.triton: its own steps are performed, and a real Triton serves its models.

The server is the one of `farpose triton` (release 24.10), not NVIDIA's image: it stands beside
what the steps install. It has no ONNX Runtime backend of its own, so ours does that part, and its
packages are added to the image's environment for the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc

from farpose_serving.triton.environment import TritonEnvironment
from tests.conftest import ROOT
from tests.docker.image import Image
from tests.docker.namespace import Namespace
from tests.triton.servers import free_ports

READY_SECONDS = 120
RUNTIME = ("onnxruntime", "flatbuffers")


@pytest.fixture(scope="module")
def image(environment: TritonEnvironment, namespace: Namespace, context: Path) -> Image:
    """Built where the packages of the server are seen: they were there before the overlays."""
    # Triton's Python backend embeds the interpreter that these tests run on.
    programs = Path(sys.base_prefix) / "bin"
    built = Image(namespace, ROOT / "docker/Dockerfile.triton", context, programs)
    _let_everyone_in(built, namespace, programs)
    return built


def test_the_environment_has_what_the_models_import_and_no_more(image: Image):
    probe = (
        "import json, sys, numpy, cv2, PIL, pydantic, tritonclient.grpc, farpose.pipeline,"
        " farpose.remote_pipeline, farpose.engines.model_config, importlib.util as u;"
        "print(json.dumps([sys.prefix, numpy.__version__, cv2.__version__,"
        " [m for m in ('onnxruntime', 'fastapi', 'torch') if u.find_spec(m)]]))"
    )
    done = subprocess.run(
        image.command("python3", "-c", probe), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["/opt/farpose", "1.26.4", "5.0.0", []]


def test_a_real_triton_serves_the_models_of_the_image(
    image: Image, namespace: Namespace, environment: TritonEnvironment, bus: Path, tmp_path: Path
):
    ports = free_ports()
    _stand_in_for_nvidia(image, namespace, environment)
    image.make_read_only()
    image.mount_memory("/tmp")  # noqa: S108
    server, *arguments = image.default
    assert server == "tritonserver"
    # On a busy machine this release sometimes aborts (boost's lock_exception) while it loads models
    # of its Python backend, and here the ONNX models are such too: so one after the other.
    arguments.append("--model-load-thread-count=1")
    command = image.command(
        str(environment.server), *arguments, f"--backend-directory={environment.backends}",
        f"--http-port={ports.http}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}",
        LD_LIBRARY_PATH=environment.variables()["LD_LIBRARY_PATH"],
    )  # fmt: skip
    health = [word.replace("8000", str(ports.http)) for word in image.health]
    with (
        (tmp_path / "triton.log").open("w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as triton,
    ):
        try:
            end = time.monotonic() + READY_SECONDS
            while subprocess.run(
                image.command(*health), capture_output=True, check=False
            ).returncode:
                assert triton.poll() is None, _problems(Path(log.name).read_text())
                assert time.monotonic() < end, Path(log.name).read_text()[-3000:]
                time.sleep(0.5)
            assert image.stage.user == "1000:1000"
            assert "Uid:\t1000\t1000" in Path(f"/proc/{triton.pid}/status").read_text()
            assert len(_people(ports.grpc, bus.read_bytes())) >= 3
        finally:
            triton.terminate()
        assert triton.wait(40) == 0


def _stand_in_for_nvidia(
    image: Image, namespace: Namespace, environment: TritonEnvironment
) -> None:
    """What NVIDIA's image has beside the steps: a server that its user may read, ONNX Runtime."""
    libraries = environment.variables()["LD_LIBRARY_PATH"].split(":")
    _let_everyone_in(
        image, namespace, environment.folder, environment.packages.resolve(), *map(Path, libraries)
    )
    for name in RUNTIME:
        copy = f"cp -r {environment.packages / name} /opt/farpose/lib/python3*/site-packages/"
        subprocess.run(image.command("sh", "-c", copy, user="0:0"), check=True)


def _let_everyone_in(image: Image, namespace: Namespace, *folders: Path) -> None:
    """Folders of root's home are part of this test's base image."""
    for folder in folders:
        if not folder.exists():  # as OpenCV adds one to the library path
            continue
        for path in (folder, *folder.parents):
            namespace.run("chmod", "a+rx", image.stage.path(str(path)))


def _people(port: int, picture: bytes) -> np.ndarray:
    image = grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([picture], object))
    with grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        return client.infer("pose_pipeline", [image]).as_numpy("boxes")


def _problems(log: str) -> str:
    """What Triton says went wrong, and its last words."""
    lines = log.splitlines()
    wrong = [line for line in lines if line.startswith("E") or "error" in line.lower()]
    return "\n".join([*wrong, "...", *lines[-10:]])
