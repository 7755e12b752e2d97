"""The reference says what the code says."""

from __future__ import annotations

import re
import runpy

from farpose.options import PoseOptions
from farpose_serving import problems
from farpose_serving.settings import Settings
from tests.conftest import ROOT

HTTP = ROOT / "docs/reference/http.md"


def test_the_reference_of_commands_is_what_their_help_says():
    script = runpy.run_path(str(ROOT / "docs/figures/command_reference.py"))
    page = script["PAGE"].read_text()
    assert page == script["reference"](), "run make command-reference"
    assert str(ROOT) not in page
    for name in PoseOptions.model_fields.keys() - {"max_people", "boxes", "variances"}:
        assert f"- `--{name.replace('_', '-')} <" in page


def test_the_reference_of_http_has_every_problem():
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)]
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \| (.*) \|$", HTTP.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((str(kind.status), kind.name, kind.title) for kind in kinds)


def test_every_option_and_setting_says_what_it_means():
    """The pages show their docstrings."""
    for model in (PoseOptions, Settings):
        assert [name for name, f in model.model_fields.items() if not f.description] == []
