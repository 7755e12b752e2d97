"""What can be said of the Dockerfiles without building them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tests.docker.dockerfile import read

DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


def pins(path: Path) -> set[str]:
    """`name==version` of a file of requirements."""
    return set(re.findall(r"^[a-z]\S+==\S+", path.read_text(), re.MULTILINE))


def test_the_linter_finds_nothing():
    assert len(DOCKERFILES) == 2
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=beside)
    if hadolint is None:
        missing("no hadolint: run make setup")
    done = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_version_is_that_of_the_project(path: Path):
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={declared}" in [i.value for i in read(path) if i.name == "ARG"]


def test_triton_has_the_packages_that_its_local_server_is_tested_with():
    tested = pins(ROOT / "serving/farpose_serving/triton/requirements/models.txt")
    there = pins(ROOT / "docker/triton.txt")
    assert {name.split("==")[0] for name in there} >= {"numpy", "opencv-python-headless", "pillow"}
    assert there <= tested


def test_requirements_are_hashed_and_name_no_host():
    text = (ROOT / "docker/triton.txt").read_text()
    assert text.count("==") <= text.count("--hash=sha256:")
    assert not re.search(r"https?://|index-url|find-links", text)
