"""Fixtures shared by all tests: where the data is, and real pictures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent

pytest_plugins = ["tests.triton.servers"]


def pytest_configure() -> None:
    """Make commands that tests start and stop find what they do in a terminal.

    A shell lets its background jobs ignore Ctrl-C, and they what they start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("FARPOSE_DATA", str(ROOT.parent / "shared" / "data"))  # as make does


def missing(what: str) -> NoReturn:
    """A real part is not there: skip, or fail where CI promises that everything is there."""
    if os.environ.get("FARPOSE_STRICT") == "1":
        pytest.fail(f"{what} (FARPOSE_STRICT=1 forbids skipping)")
    pytest.skip(what)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with lspet/, coco_mini/, video/ and detector/."""
    folder = Path(os.environ["FARPOSE_DATA"])
    if not (folder / "coco_mini" / "val.json").is_file():
        pytest.skip(f"no data at {folder}: set FARPOSE_DATA to the folder that holds coco_mini/")
    return folder


@pytest.fixture(scope="session")
def pictures(data: Path) -> list[bytes]:
    """Eight real JPEG pictures with people."""
    return [path.read_bytes() for path in sorted((data / "coco_mini" / "val").glob("*.jpg"))[:8]]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The bundled models."""
    return ROOT / "model_repository"


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street picture of the demo, fetched as `make demo` fetches it."""
    target = tmp_path_factory.mktemp("picture") / "bus.jpg"
    command = [sys.executable, ROOT / "clients" / "sample_picture.py", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"the demo picture cannot be fetched: {done.stderr.strip()}")
    return target
