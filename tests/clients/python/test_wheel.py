"""The wheel of farpose-client, alone in an environment, and what its README shows there."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest

import farpose_client
from tests.conftest import ROOT, missing
from tests.service import Service

README = ROOT / "clients/python/README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NEEDS_MORE = ("from PIL", "to_supervision")
"""What the examples that need an extra have."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        missing("no uv in the environment: run make setup")
    subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable,
         "--out-dir", folder, README.parent],
        check=True,
    )  # fmt: skip
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Of an environment with nothing but the wheel and what it requires."""
    uv = Path(sys.executable).with_name("uv")
    environment = wheel.parent / "env"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin/python"
    # The pinned versions, which are in uv's cache.
    pinned = ["--constraint", ROOT / "requirements/dev.txt"]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *pinned, wheel], check=True
    )
    return python


def run(python: Path, code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [python, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_wheel_has_the_package_its_types_and_its_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "farpose_client/py.typed" in names
        assert {name.split("/")[0].split("-")[0] for name in names} == {"farpose_client"}
        (licence,) = [name for name in names if name.endswith("/licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert wheel.stat().st_size < 100_000


def test_little_comes_with_it(python: Path, tmp_path: Path):
    probe = (
        "import importlib.util as u; names = ('numpy', 'PIL', 'pydantic', 'farpose', "
        "'farpose_serving', 'supervision'); print([n for n in names if u.find_spec(n)])"
    )
    assert run(python, probe, tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("extras", [False, True])
def test_the_examples_of_the_readme_run(
    python: Path, service: Service, picture: Path, tmp_path: Path, extras: bool
):
    """Those that need an extra with everything installed, all others with the wheel alone."""
    for name in ("street.jpg", "frame.jpg", "folder/street.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture.read_bytes())
    examples = BLOCK.findall(README.read_text())
    asked = [code for code in examples if any(more in code for more in NEEDS_MORE) is extras]
    code = "\n".join(asked).replace("http://localhost:8080", service.url)
    done = run(Path(sys.executable) if extras else python, code, tmp_path)
    assert done.returncode == 0, done.stderr
    if extras:
        assert (tmp_path / "drawn.png").is_file()
    else:
        assert len(asked) == 5
        assert done.stdout.count("px tall, nose at") == 3
        assert "folder/street.jpg: 3 people" in done.stdout
        assert re.search(r"^2 \[\d", done.stdout, re.MULTILINE)  # a track id


def test_what_needs_an_extra_says_which(python: Path, service: Service, picture: Path):
    code = f"""
import farpose_client
with farpose_client.Client({service.url!r}) as client:
    result = client.pose({str(picture)!r})
for call in (result.to_supervision, result.to_detections, lambda: result.draw({str(picture)!r})):
    try:
        call()
    except farpose_client.MissingPackageError as error:
        print(error)
"""
    done = run(python, code, picture.parent)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "pip install './clients/python[supervision]'" in lines[0]
    assert lines[0] == lines[1]
    assert "Pillow" in lines[2] and "'./clients/python[pictures]'" in lines[2]


def test_the_versions_agree():
    assert metadata("farpose-client")["Version"] == farpose_client.__version__


def test_everything_that_is_public_is_there_and_documented():
    for name in farpose_client.__all__:
        found = getattr(farpose_client, name)
        assert isinstance(found, farpose_client.Backoff) or found.__doc__, name
    text = README.read_text()
    errors = [name for name in farpose_client.__all__ if name.endswith("Error")]
    assert [name for name in errors if f"`{name}`" not in text] == []
