"""The house itself: what is installed, what the wheel carries, what may be committed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import urllib.request
from importlib.metadata import distributions
from pathlib import Path

import pytest

from farpose_serving.triton.interpreter import TritonUnavailableError, shared_library
from tests.conftest import ROOT, missing
from tests.service import Service
from tests.triton.command import Command


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("cv2", "opencv-python-headless"), ("onnxruntime", "onnxruntime")],
)
def test_exactly_one_distribution_installs(module: str, distribution: str):
    found = {
        d.metadata["Name"]
        for d in distributions()
        if any(f.parts[0] == module for f in d.files or ())
    }
    assert found == {distribution}


def test_requirements_are_hashed_and_name_no_host():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|index-url|find-links", text)


def test_serving_is_pinned_like_everything_else():
    def pins(name: str) -> set[str]:
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if re.match(r"[a-z]", line)}

    assert pins("serve.txt") <= pins("dev.txt")
    assert not any(pin.startswith(("torch", "timm", "ultralytics")) for pin in pins("serve.txt"))


def test_no_foreign_picture_or_large_file_is_tracked():
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in done.stdout.splitlines()]
    assert [f for f in files if f.is_file() and f.stat().st_size > 8 * 2**20] == []
    assert [f for f in files if f.suffix in {".jpg", ".webp", ".mp4", ".gif"}] == []


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the wheel and its `serve` extra."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        missing("no uv in the environment: run make setup")
    python = folder / "env/bin/python"
    install = [uv, "pip", "install", "--quiet", "--python", python]
    for command in (
        [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable,
         "--out-dir", folder, ROOT],
        [uv, "venv", "--quiet", "--python", sys.executable, folder / "env"],
        [*install, "--no-deps", "--require-hashes", "-r", ROOT / "requirements/serve.txt"],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("farpose-*.whl")
    subprocess.run([*install, f"{wheel}[serve]"], check=True)
    return folder / "env"


def test_the_wheel_alone_serves_the_bundled_models(empty_environment: Path, bus: Path):
    with Service(empty_environment / "bin/farpose", cwd=Path("/")) as service:
        answer = service.post(bus.read_bytes())
        with urllib.request.urlopen(service.url) as front:
            assert b"page/main.js" in front.read()
    assert answer["image"] == {"width": 810, "height": 1080}
    assert len(answer["people"]) >= 3


def test_the_wheel_alone_runs_triton(empty_environment: Path, tmp_path: Path):
    """The server's environment is made anew, and its models import the installed package."""
    farpose = empty_environment / "bin/farpose"
    try:
        shared_library()
    except TritonUnavailableError as error:
        missing(f"no Triton server: {error}")
    with Command(tmp_path / "log", "--environment", tmp_path, farpose=farpose) as command:
        command.until_ready()
        for model in ("lowres_pose", "pose_pipeline"):
            url = f"http://127.0.0.1:{command.ports.http}/v2/models/{model}/ready"
            with urllib.request.urlopen(url) as answer:
                assert answer.status == 200
    (linked,) = tmp_path.glob("triton-server-*/python/lib/python3*/site-packages/farpose/")
    assert linked.resolve().is_relative_to(empty_environment)


def test_the_doctor_finds_nothing_wrong_with_the_wheel_alone(empty_environment: Path):
    done = subprocess.run(
        [empty_environment / "bin/farpose", "doctor"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "person_detector/1: onnxruntime" in done.stdout
    assert done.stdout.endswith("no problems\n")


def test_the_wheel_brings_neither_training_nor_the_client(empty_environment: Path):
    names = ("torch", "timm", "farpose_client")
    probe = f"import importlib.util as u; print([m for m in {names} if u.find_spec(m)])"
    done = subprocess.run(
        [empty_environment / "bin/python", "-c", probe], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    farpose = Path(sys.executable).with_name("farpose")
    done = subprocess.run([farpose, "--version"], capture_output=True, text=True, check=True)
    assert declared in done.stdout
