"""One `Pose` with the bundled models, a street picture, and a clip made of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from farpose import Pose
from farpose.images import decode_image
from tests.conftest import ROOT

FRAMES = 8


@pytest.fixture(scope="package")
def pose() -> Iterator[Pose]:
    with Pose() as pose:
        yield pose


@pytest.fixture(scope="package")
def street(bus: Path) -> NDArray[np.uint8]:
    """The street picture, `[H,W,3]` RGB."""
    return decode_image(bus.read_bytes())


@pytest.fixture(scope="package")
def clip(bus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street picture, seen by a camera that moves."""
    target = tmp_path_factory.mktemp("clip") / "street.mp4"
    script = ROOT / "clients" / "sample_clip.py"
    subprocess.run([sys.executable, script, bus, target, "--frames", str(FRAMES)], check=True)
    return target
