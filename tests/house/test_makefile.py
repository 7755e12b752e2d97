"""The Makefile runs what there is."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.existing import FOLDERS


def test_every_file_and_module_that_a_target_names_is_there():
    targets = re.findall(r"^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", *targets],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = set(re.findall(r"[\w./-]+", done.stdout))
    files = {word for word in words if word.split("/")[0] in FOLDERS}
    assert {word for word in files if not Path(ROOT / word).exists()} == set()
    modules = set(re.findall(r"-m (\w[\w.]*)", done.stdout))
    assert {module for module in modules if find_spec(module) is None} == set()
    assert {"docs/figures/method", "clients/perf/run.py"} <= files
    assert "farpose_training.blend" in modules
