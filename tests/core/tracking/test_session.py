"""One camera's people: who is who, when the detector rests, and what ends it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.geometry import box_iou
from farpose.images import ImageError
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PosePipeline, PoseResult
from farpose.tracking import CameraSession, StaleFrameError, TrackingUnavailableError
from tests.core.tracking.conftest import Camera


def ids_of(results: list) -> list[int]:
    return [i for result in results for i in result.people.track_ids.tolist() if i > 0]


@pytest.mark.parametrize("detect_every", [1, 3, 5])
def test_who_walks_through_has_one_id(pipeline: PosePipeline, walk: list[bytes], detect_every: int):
    camera = Camera(pipeline, detect_every)
    results = camera.watch(walk)
    assert len(ids_of(results)) > 120
    assert set(ids_of(results)) == {1}


def test_the_detector_rests_while_people_can_be_followed(pipeline: PosePipeline, walk: list[bytes]):
    always, seldom = Camera(pipeline, 1), Camera(pipeline, 4)
    reference, results = always.watch(walk), seldom.watch(walk)
    assert all(always.detections)
    assert seldom.detections[0]
    assert sum(seldom.detections) < 0.6 * len(walk)
    # Never longer than it was told to.
    gaps = np.diff(np.flatnonzero([*seldom.detections, True]))
    assert gaps.max() == 4
    # Whoever is there is still found, in the same place.
    there = [(a.people, b.people) for a, b in zip(reference, results, strict=True) if len(a.people)]
    found = [len(b) and box_iou(a.boxes[:1], b.boxes).max() > 0.5 for a, b in there]
    assert np.mean(found) > 0.95


def test_the_detector_looks_at_every_picture_while_somebody_comes_or_goes(
    pipeline: PosePipeline, walk: list[bytes]
):
    camera = Camera(pipeline, 10)
    results = camera.watch(walk)
    height = results[0].height
    for before, detected in zip(results, camera.detections[1:], strict=False):
        if len(before.people) and before.people.boxes[:, 3].max() > height - 1:
            assert detected


def test_somebody_new_is_found_within_the_pictures_between_detections(
    pipeline: PosePipeline, walk: list[bytes]
):
    first = next(i for i, r in enumerate(Camera(pipeline, 1).watch(walk[:40])) if len(r.people))
    later = next(i for i, r in enumerate(Camera(pipeline, 5).watch(walk[:40])) if len(r.people))
    assert first <= later <= first + 4


def test_cameras_side_by_side_share_nothing(pipeline: PosePipeline, walk: list[bytes]):
    alone = Camera(pipeline).watch(walk[:60])
    one, other = Camera(pipeline), Camera(pipeline)
    for i, picture in enumerate(walk[:60]):
        ours = one.see(picture, i / 10)
        other.see(walk[-1 - i], i / 10)
        np.testing.assert_array_equal(ours.people.track_ids, alone[i].people.track_ids)
        np.testing.assert_allclose(ours.people.keypoints, alone[i].people.keypoints, atol=1e-3)


def test_a_picture_of_another_size_is_looked_at_anew(pipeline: PosePipeline, walk: list[bytes]):
    camera = Camera(pipeline, 10)
    camera.watch(walk[60:70])
    frame = cv2.imdecode(np.frombuffer(walk[70], np.uint8), cv2.IMREAD_COLOR)
    for i, scale in enumerate((0.5, 1.5, 1.0)):
        size = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        result = camera.see(cv2.imencode(".jpg", size)[1].tobytes(), 100.0 + i)
        assert camera.asked[-1].boxes is None
        assert (result.width, len(result.people)) == (size.shape[1], 1)


def test_new_options_are_answered_at_once(pipeline: PosePipeline, walk: list[bytes]):
    camera = Camera(pipeline, 10)
    camera.watch(walk[60:70])
    camera.see(walk[70], 10.0, detection_threshold=0.99)
    assert camera.asked[-1].boxes is None


def test_a_picture_that_is_not_newer_or_cannot_be_read_changes_nothing(
    pipeline: PosePipeline, walk: list[bytes]
):
    camera, undisturbed = Camera(pipeline, 3), Camera(pipeline, 3)
    expected = undisturbed.watch(walk[60:80])
    for i, picture in enumerate(walk[60:80]):
        result = camera.see(picture, i / 10)
        for stale in (i / 10, i / 10 - 0.05):
            with pytest.raises(StaleFrameError, match="not later than"):
                camera.see(picture, stale)
        with pytest.raises(ImageError):
            camera.see(b"no picture", i / 10 + 0.05)
        np.testing.assert_allclose(result.people.keypoints, expected[i].people.keypoints, atol=1e-3)
        np.testing.assert_array_equal(result.people.track_ids, expected[i].people.track_ids)


def test_smoothing_calms_keypoints_and_leaves_out_those_left_out(
    pipeline: PosePipeline, walk: list[bytes]
):
    raw = Camera(pipeline, 1).watch(walk[30:90], keypoint_threshold=0.15)
    smooth = Camera(pipeline, 1, smoothing=True).watch(walk[30:90], keypoint_threshold=0.15)
    left_out = [r.people.keypoints[:, :, 2] == 0 for r in raw]
    assert any(mask.any() for mask in left_out)
    for result, mask in zip(smooth, left_out, strict=True):
        assert not result.people.keypoints[mask].any()

    def restlessness(results: list) -> float:
        places = [r.people.keypoints[0] for r in results if len(r.people)]
        bends = [
            np.linalg.norm(a[:, :2] - 2 * b[:, :2] + c[:, :2], axis=1)[(a * b * c)[:, 2] > 0]
            for a, b, c in zip(places, places[1:], places[2:], strict=False)
        ]
        return float(np.concatenate(bends).mean())

    assert restlessness(smooth) < 0.8 * restlessness(raw)


def test_a_hundred_people_who_come_and_go_leave_nothing_behind(pipeline: PosePipeline):
    """Nobody is on these pictures: the people are put there."""

    random = np.random.default_rng(0)
    session = CameraSession(detect_every=1, smoothing=True)

    async def crowd(picture, options) -> PoseResult:
        corners = random.uniform(0, 2000, (20, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + 20], axis=1)
        empty = People.empty()
        people = People(
            boxes,
            np.full(20, 0.9, np.float32),
            np.ones((20, 17, 3), np.float32),
            np.ones((20, 17, 2), np.float32),
            ("lowres_pose",) * 20,
            empty.keypoint_set,
        )
        return PoseResult(people, 2100, 2100, {}, {"total": 0.0})

    for i in range(100):
        asyncio.run(session.find(b"", PoseOptions(), i * 0.5, crowd))
    assert len(session._smoothing._filters) < 120
    assert len(session._identities._tracker.tracks) < 120


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(TrackingUnavailableError, match="pip install --no-deps -r requirements"):
        CameraSession(detect_every=1, smoothing=False)


def test_the_heavy_package_is_not_imported_before_it_is_needed(repository: Path):

    code = "import sys, farpose.tracking; sys.exit('trackers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
