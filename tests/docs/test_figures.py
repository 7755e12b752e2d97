"""The figures of docs/method.md are drawn by the project's own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2

from tests.conftest import ROOT

FIGURES = ROOT / "docs/figures/method"


def test_every_figure_of_the_method_is_drawn_anew_as_it_is_committed(tmp_path: Path):
    """Of the same size, and equal but for how another version of a library draws a letter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", FIGURES, "--output", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    committed = sorted((ROOT / "docs/images").glob("method-*.png"))
    assert [path.name for path in committed] == sorted(path.name for path in tmp_path.iterdir())
    page = (ROOT / "docs/method.md").read_text()
    for path in committed:
        assert f"images/{path.name}" in page
        old, new = (cv2.imread(str(p)) for p in (path, tmp_path / path.name))
        assert old.shape == new.shape, path.name
        assert cv2.absdiff(old, new).mean() < 2.0, path.name
