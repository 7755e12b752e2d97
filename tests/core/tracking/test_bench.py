"""`farpose bench tracking` compares with detecting on every picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from farpose.benchmarks.tracking import ClipError, measure, read_clip, table
from farpose.pipeline import PosePipeline


def test_detecting_on_every_picture_agrees_with_itself_and_less_is_less(
    pipeline: PosePipeline, walk: list[bytes]
):
    always, seldom = measure(pipeline, walk[:80], 10.0, [(1, False), (5, False)])
    assert (always.detector_runs, always.people, always.extra, always.joints) == (1, 1, 0, 1)
    assert always.ids == seldom.ids == 1
    assert 0.2 <= seldom.detector_runs < 0.7
    assert seldom.people > 0.9
    assert 0.5 < seldom.joints < 1
    assert "| 5 | no |" in table([always, seldom])


def test_what_is_no_clip_is_refused(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no clip")
    with pytest.raises(ClipError, match=r"clip\.mp4: 0 pictures"):
        read_clip(path, None)
