from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.ignored import Ignored
from farpose.evaluation.shrink import ShrinkColumn, shrink, shrink_table, shrunk_truth
from farpose.pipeline import PosePipeline

EngineFor = Callable[..., Any]


def table(engine: object, labelled: PoseDataset) -> dict[int, ShrinkColumn]:
    columns = asyncio.run(shrink_table(PosePipeline(engine), labelled))
    return {column.height: column for column in columns}


def test_a_shrunk_picture_is_the_mean_of_its_areas():
    image = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    small = shrink(image, 0.25)
    expected = image.reshape(10, 4, 20, 4, 3).mean(axis=(1, 3))
    assert small.image.shape == (10, 20, 3) and small.scale == (0.25, 0.25)
    assert np.abs(small.image - expected).max() <= 0.5


def test_the_scale_tells_the_whole_pixels():
    small = shrink(np.zeros((101, 50, 3), np.uint8), 0.1)
    assert small.image.shape == (10, 5, 3)
    assert small.scale == (5 / 50, 10 / 101)


@pytest.mark.parametrize("factor", [1.01, 0.0, -1.0])
def test_nothing_is_enlarged(factor: float):
    with pytest.raises(ValueError, match="shrunk by a factor"):
        shrink(np.zeros((10, 10, 3), np.uint8), factor)


@pytest.mark.parametrize("factor", [0.5, 0.25, 0.31])
def test_a_point_stays_on_its_dot(labelled: PoseDataset, factor: float):
    image = np.zeros((320, 320, 3), np.uint8)
    image[196:204, 120:128] = 255  # its centre is index (123.5, 199.5)
    small = shrink(image, factor)
    weights = small.image[..., 0] / small.image[..., 0].sum()
    dot = (
        weights.sum(axis=0) @ np.arange(len(weights)),
        weights.sum(axis=1) @ np.arange(len(weights)),
    )
    labelled.keypoints[0, 0, :2] = (123.5, 199.5)
    truth = shrunk_truth(labelled.select([0]), np.array([small.scale]))
    assert truth.keypoints[0, 0, :2] == pytest.approx(dot, abs=0.05)


def test_boxes_and_areas_shrink_with_the_picture(labelled: PoseDataset):
    truth = shrunk_truth(labelled, np.array([[0.5, 0.5], [1.0, 1.0]]))
    assert truth.heights.tolist() == [60, 60]
    assert truth.areas.tolist() == [1000, 1000]


def test_crowds_stay_in_the_whole_picture(labelled: PoseDataset):
    crowd = Ignored(np.zeros(1, np.intp), np.ones((1, 4)), np.ones(1), np.ones(1, bool))
    assert not len(shrunk_truth(replace(labelled, ignored=crowd), np.ones((2, 2))).ignored)


def test_a_perfect_model_is_perfect_at_every_height(labelled: PoseDataset, engine_for: EngineFor):
    columns = table(engine_for(labelled), labelled)
    assert list(columns) == [16, 24, 32, 48, 64, 96, 128]
    scored = [c.accuracy for c in columns.values() if c.accuracy.people]
    assert all(a.pck_02 == 1 for a in scored)
    # Sizes are whole pixels, so at 16 the two scales differ by up to 2 %.
    assert all(a.mean_oks > 0.97 for a in scored)


def test_people_who_are_shorter_are_left_out(labelled: PoseDataset, engine_for: EngineFor):
    columns = table(engine_for(labelled), labelled)
    people = {height: (c.accuracy.people, c.left_out) for height, c in columns.items()}
    assert people[48] == (2, 0)
    assert people[64] == (1, 1)  # person 1 is 60 pixels tall
    assert people[128] == (0, 2)
    assert np.isnan(columns[128].accuracy.pck_02)


def test_errors_count_in_pixels_of_the_shrunk_picture(labelled: PoseDataset, engine_for: EngineFor):
    # 11 pixels of a person with a torso of 50 stay more than a fifth of it at any size.
    columns = table(
        engine_for(labelled.select([0]), offset=11.0 / np.sqrt(2)), labelled.select([0])
    )
    assert {c.accuracy.pck_02 for h, c in columns.items() if h <= 96} == {0.0}
    assert {c.accuracy.pck_05 for h, c in columns.items() if h <= 96} == {1.0}


def test_the_service_s_crops_are_used(labelled: PoseDataset, engine_for: EngineFor):
    engine = engine_for(labelled)
    table(engine, labelled)
    # Person 0 at six heights, person 1 at four; the detector is never asked.
    assert engine.calls == [("lowres_pose", 1)] * 10
