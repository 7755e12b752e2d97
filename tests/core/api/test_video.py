from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from farpose import Pose, SourceError
from farpose.finding import answered_in_order, find_in_frames
from farpose.loop_thread import LoopThread
from farpose.options import PoseOptions
from farpose.people import People
from farpose.result import NoPictureError, PoseResult
from farpose.sources import Frame, read_frames
from tests.core.api.conftest import FRAMES


def test_every_frame_is_answered_in_order(pose: Pose, clip: Path):
    results = list(pose.video(clip))
    frames = list(read_frames(clip))
    assert [result.index for result in results] == list(range(FRAMES))
    assert [result.time for result in results] == [frame.time for frame in frames]
    assert results[3].time == pytest.approx(0.3)  # the clip has 10 frames a second
    assert all((r.image == f.image).all() for r, f in zip(results, frames, strict=True))
    assert np.allclose(results[3].keypoints, pose(frames[3].image).keypoints, atol=0.05)
    assert {result.source for result in results} == {str(clip)}


def test_the_path_of_a_video_is_enough(pose: Pose, clip: Path):
    first = next(pose(str(clip), max_people=1, keep_picture=False))
    assert isinstance(first, PoseResult)
    assert (first.index, len(first)) == (0, 1)
    with pytest.raises(NoPictureError, match="not kept"):
        _ = first.image
    with pytest.raises(TypeError, match="bgr=True"):
        pose(clip, bgr=True)


def test_a_video_keeps_the_pose_that_nobody_else_has(clip: Path):
    results = Pose()(clip)
    gc.collect()
    assert next(results).index == 0
    results.close()


def test_people_of_a_video_keep_their_ids(pose: Pose, clip: Path):
    results = list(pose.video(clip, track=True))
    ids = [set(result.track_ids.tolist()) for result in results if result.track_ids is not None]
    assert len(ids) == FRAMES
    assert ids[0] == {-1}  # everybody is new
    assert {1, 2} <= set.intersection(*ids[2:])
    assert "detector" not in results[2].timing_ms  # it rests
    assert results[0].track_ids is not None
    assert next(pose.video(clip)).track_ids is None


def test_it_can_be_left_early(pose: Pose, clip: Path):
    for result in pose.video(clip):
        if result.index == 1:
            break
    assert len(pose.video(clip).__next__()) > 0


def test_a_file_that_is_no_video_is_told(pose: Pose, tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"clip.mp4: neither a picture .* nor a readable video"):
        next(pose.video(path))


def test_frames_before_one_that_cannot_be_read_are_answered(clip: Path):
    good = list(read_frames(clip))[:3]

    def frames() -> Iterator[Frame]:
        yield from good
        raise SourceError("cut off")

    async def nobody(frame: np.ndarray, options: PoseOptions) -> PoseResult:
        return PoseResult(People.empty(), frame.shape[1], frame.shape[0], {})

    loop = LoopThread("test")
    find = find_in_frames(nobody, None, keep=False, options=PoseOptions())
    results = answered_in_order(loop, frames(), find)
    assert [next(results).index for _ in good] == [0, 1, 2]
    with pytest.raises(SourceError, match="cut off"):
        next(results)
    loop.close()
