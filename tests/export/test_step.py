from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from farpose_export.gate.outputs import Outputs
from farpose_export.gate.people import PeopleScores
from farpose_export.gate.step import Step, class_pixels, compare
from farpose_training.config import ModelConfig

FINE = Step("fp32", "int8", 10, 0.0, 0.0, 0.0, 0.0, PeopleScores(0.5, 0.2), PeopleScores(0.5, 0.2))


def outputs(move: float = 0.0, score: float = 0.5) -> Outputs:
    """Two crops with one joint each; the second crop's joint is moved."""
    keypoints = np.full((2, 1, 2), 10.0, np.float32)
    keypoints[1, 0, 0] += move
    scores = np.full((2, 1), 0.5, np.float32)
    scores[0] = score
    return Outputs(keypoints, scores, np.ones((2, 1, 2), np.float32))


def test_a_step_says_what_moved():
    step = compare("checkpoint", "fp32", outputs(), outputs(0.5, 0.6), pixels_per_class=1 / 3)
    assert step.max_keypoint_pixels == 0.5
    assert step.mean_keypoint_pixels == 0.125  # one of four coordinates
    assert step.moved_share == 0.5
    assert step.max_score == pytest.approx(0.1)
    assert math.isnan(step.points_lost)


@pytest.mark.parametrize(
    ("target", "changes", "failing"),
    [
        ("fp32", {"max_score": 9e-5}, None),
        ("fp32", {"max_score": 2e-4}, "change of a score 0.0002 is above 0.0001"),
        ("fp32", {"moved_share": 0.002}, "moved by more than a class 0.002 is above 0.001"),
        ("fp32", {"max_keypoint_pixels": 60.0}, None),  # an argmax between equal peaks
        ("fp16", {"max_score": 0.1, "moved_share": 0.005}, None),
        ("fp16", {"moved_share": 0.006}, "0.006 is above 0.005"),
        ("fp16", {"after": PeopleScores(0.4975, 0.2)}, "accuracy 0.25 points is above 0.2 points"),
        ("int8", {"moved_share": 0.9, "max_score": 0.5}, None),
        ("int8", {"after": PeopleScores(0.496, 0.196)}, None),
        ("int8", {"after": PeopleScores(0.5, 0.194)}, "accuracy 0.6 points is above 0.5 points"),
        ("int8", {"after": PeopleScores(0.6, 0.3)}, None),
        ("int8", {"after": PeopleScores(math.nan, 0.1)}, "accuracy 10 points"),
        ("int8", {"mean_keypoint_pixels": math.nan}, "keypoints of int8 are not finite"),
        ("fp16", {"max_score": math.nan}, "scores of fp16 are not finite"),
    ],
)
def test_limits(target: str, changes: dict, failing: str | None):
    failures = replace(FINE, target=target, **changes).failures()
    if failing is None:
        assert failures == []
    else:
        (failure,) = failures
        assert failing in failure


def test_a_report_is_json_even_without_a_torso():
    nothing = PeopleScores(math.nan, 0.0)
    content = json.loads(json.dumps(replace(FINE, before=nothing, after=nothing).to_json()))
    assert content["before"] == {"pck": None, "ap": 0.0}
    assert content["limits"]["points"] == 0.5
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("head", "pixels"),
    [
        ({"kind": "simcc", "split_factor": 2}, 0.5),
        ({"kind": "heatmap"}, 4.0),
        ({"kind": "cal"}, 4.0),
        ({"kind": "rle"}, 1.0),
    ],
)
def test_a_class_is_a_bin_or_a_cell(head: dict, pixels: float):
    config = ModelConfig.model_validate({"backbone": {"kind": "timm"}, "head": head})
    assert class_pixels(config) == pixels
