"""The model cards say what the models' own files say."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "docs/figures/model_facts.py"
CARDS = ROOT / "docs/models"


@pytest.fixture(scope="module")
def facts() -> dict:
    return runpy.run_path(str(SCRIPT))


def test_the_cards_facts_are_those_of_the_models():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", ["person_detector", "lowres_pose", "lowres_pose_32"])
def test_a_card_that_drifts_is_noticed(model: str, facts: dict):
    card = (CARDS / f"{model}.md").read_text()
    assert facts["with_facts"](card, model) == card
    changed = card.replace("| ONNX | IR 8", "| ONNX | IR 9")
    assert changed != card
    assert facts["with_facts"](changed, model) == card


def test_a_card_without_a_place_for_facts_is_refused(facts: dict):
    with pytest.raises(facts["FactsError"], match="lacks"):
        facts["with_facts"]("# lowres_pose\n", "lowres_pose")


@pytest.mark.parametrize("model", ["person_detector", "lowres_pose", "lowres_pose_32"])
def test_research_data_is_said_where_it_was_used(model: str, facts: dict):
    """The graph's metadata names the data; the card has to say what that means."""
    trained_on = facts["facts"](model)["trained on"]
    card = (CARDS / f"{model}.md").read_text()
    assert ("lspet" in trained_on or "Leeds" in trained_on) == ("for research use only" in card)
    assert facts["facts"](model)["licence of the weights"] == "Apache-2.0"
