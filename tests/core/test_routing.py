"""Small people go to the smaller pose model, and nothing else changes for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farpose.engine import EngineError
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.keypoints import keypoint_set
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline, PoseResult
from farpose.pose_model import PoseModel, Routing

# Heights 300, 80, 79.5 and 120.
BOXES = ((40, 400, 230, 700), (300, 380, 330, 460), (500, 400, 530, 479.5), (600, 300, 660, 420))


@pytest.fixture(scope="module")
def engine(repository: Path) -> Iterator[OnnxRuntimeEngine]:
    with OnnxRuntimeEngine(repository, threads=1) as opened:
        yield opened


def pose(engine: OnnxRuntimeEngine, picture: bytes, small_person: float, **options) -> PoseResult:
    pipeline = PosePipeline(engine, small_person=small_person)
    return asyncio.run(pipeline(picture, PoseOptions(boxes=BOXES, **options)))


def test_people_lower_than_the_threshold_are_seen_by_the_small_model(
    engine: OnnxRuntimeEngine, bus: Path
):
    picture = bus.read_bytes()
    shared = pose(engine, picture, 80).people
    assert shared.models == ("lowres_pose", "lowres_pose", "lowres_pose_32", "lowres_pose")
    large = pose(engine, picture, 0, pose_model="lowres_pose").people
    small = pose(engine, picture, 0, pose_model="lowres_pose_32").people
    for i, seen in enumerate((large, large, small, large)):
        np.testing.assert_allclose(shared.keypoints[i], seen.keypoints[i], atol=1e-3)
        np.testing.assert_allclose(shared.variances[i], seen.variances[i], atol=1e-2)
        assert shared.boxes[i].tolist() == list(BOXES[i])


@pytest.mark.parametrize(
    ("small_person", "options", "models"),
    [
        (0, {}, {"lowres_pose"}),  # off
        (10, {}, {"lowres_pose"}),  # nobody is that small: the model that did not run is not named
        (1000, {}, {"lowres_pose", "lowres_pose_32"}),  # the default model is named in any case
        (1000, {"pose_model": "lowres_pose"}, {"lowres_pose"}),  # the caller's word goes
        (10, {"pose_model": "lowres_pose_32"}, {"lowres_pose_32"}),
    ],
)
def test_the_answer_names_the_models(
    engine: OnnxRuntimeEngine, bus: Path, small_person: float, options: dict, models: set[str]
):
    result = pose(engine, bus.read_bytes(), small_person, **options)
    assert set(result.models) == models
    assert set(result.people.models) == models - (
        {"lowres_pose"} if "lowres_pose_32" in models else set()
    )


def test_nobody_there_is_nobody_with_routing_too(engine: OnnxRuntimeEngine):
    result = asyncio.run(
        PosePipeline(engine, small_person=80)(np.zeros((64, 64, 3), np.uint8), PoseOptions())
    )
    assert len(result.people) == 0


def test_models_of_other_joints_cannot_share_people(engine: OnnxRuntimeEngine):
    large, small = (
        PoseModel.from_metadata(asyncio.run(engine.metadata(name)))
        for name in ("lowres_pose", "lowres_pose_32")
    )
    with pytest.raises(EngineError, match="lowres_pose_32 answers mpii16, lowres_pose coco17"):
        Routing(large, replace(small, keypoint_set=keypoint_set("mpii16")), 80)
