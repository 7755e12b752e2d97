"""Makes `docs/images/privacy-view.png`: the poses of far-off people, without the pictures.

The frames of real clips are area-resampled until people are a few dozen pixels tall; the pipeline
sees those. What it finds is drawn larger on a plain background, and nothing of the frame is left.

    python docs/figures/privacy_view.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.drawing import DRAW_THRESHOLD, PLAIN_BACKGROUND, draw_anonymous
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.evaluation.shrink import shrink
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pipeline import PosePipeline, PoseResult
from farpose.repository import default_repository
from farpose.sources import read_frames

ROOT = Path(__file__).parent.parent.parent
CLIPS = ("worker-zone-detection.gif", "one-by-one-person-detection.mp4")
"""Intel IoT sample videos, CC BY 4.0."""

SAMPLES = 90
"""Frames of a clip that are looked at."""

SEEN_WIDTH = 160
"""Pixels: width of the frame that the pipeline sees."""

OPTIONS = PoseOptions(detection_threshold=0.5, max_people=1)
"""One person walks through each of the clips."""

PANEL_WIDTH, PANEL_HEIGHT = 198, 230
MARGIN = 0.2
"""Room around the people of a row, as a share of what they take."""

GAP = 2
CAPTION_HEIGHT = 22
FONT_SIZE = 0.42
GREY = (150, 154, 162)


def find_poses(clip: Path, pipeline: PosePipeline, runner: asyncio.Runner) -> list[PoseResult]:
    """Results for those sampled frames of a clip in which somebody is seen whole."""
    step = max(1, sum(1 for _ in read_frames(clip)) // SAMPLES)
    results = []
    for frame in islice(read_frames(clip), 0, None, step):
        small = shrink(frame.image, SEEN_WIDTH / frame.image.shape[1])
        result = runner.run(pipeline(small.image, OPTIONS))
        sure = result.people.keypoints[..., 2] >= DRAW_THRESHOLD
        if sure.all(axis=1).any():
            results.append(result)
    return results


def window(results: list[PoseResult]) -> tuple[NDArray[np.float64], float]:
    """The part of the frame where all these people are, in the shape of a panel.

    Returns:
        Its left top corner in pixels of the small frames, and panel pixels per such pixel.
    """
    boxes = np.concatenate([result.people.boxes for result in results]).astype(np.float64)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    panel_size = np.array([PANEL_WIDTH, PANEL_HEIGHT])
    scale = float((panel_size / (high - low)).min()) / (1 + MARGIN)
    return (low + high) / 2 - panel_size / scale / 2, scale


def panel(result: PoseResult, corner: NDArray[np.float64], scale: float) -> NDArray[np.uint8]:
    """`[H,W,3]` RGB: the people of a small frame, enlarged, with their height in pixels."""
    drawn = draw_anonymous(PANEL_WIDTH, PANEL_HEIGHT, enlarged(result.people, corner, scale))
    caption = np.full((CAPTION_HEIGHT, PANEL_WIDTH, 3), PLAIN_BACKGROUND, np.uint8)
    tallest = max(result.people.boxes[:, 3] - result.people.boxes[:, 1])
    cv2.putText(
        caption,
        f"seen at {tallest:.0f} pixels",
        (8, CAPTION_HEIGHT - 8),
        cv2.FONT_HERSHEY_SIMPLEX,
        FONT_SIZE,
        GREY,
        1,
        cv2.LINE_AA,
    )
    return np.concatenate([drawn, caption])


def enlarged(people: People, corner: NDArray[np.float64], scale: float) -> People:
    """The same people in pixels of an enlarged part of the frame."""
    keypoints = people.keypoints.copy()
    keypoints[..., :2] = (keypoints[..., :2] + 0.5 - corner) * scale - 0.5
    boxes = (people.boxes - np.tile(corner, 2)) * scale
    return replace(people, boxes=boxes.astype(np.float32), keypoints=keypoints)


def evenly(results: list[PoseResult], count: int) -> list[PoseResult]:
    """So many of them, spread over the clip."""
    return [results[i] for i in np.linspace(0, len(results) - 1, count).round().astype(int)]


def compose(rows: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Panels side by side with white gaps."""
    lines = []
    for row in rows:
        spaced = [np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for p in row]
        lines.append(np.concatenate(spaced, axis=1))
    return np.concatenate(lines)[:-GAP, :-GAP]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "clips", type=Path, nargs="*", help="videos; those in FARPOSE_DATA/video by default"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/privacy-view.png")
    parser.add_argument("--repository", type=Path, default=default_repository())
    parser.add_argument("--columns", type=int, default=6)
    arguments = parser.parse_args()
    if not arguments.clips and "FARPOSE_DATA" not in os.environ:
        parser.error("give clips, or set FARPOSE_DATA to the folder that holds video/")
    clips = arguments.clips or [Path(os.environ["FARPOSE_DATA"]) / "video" / name for name in CLIPS]
    with OnnxRuntimeEngine(arguments.repository) as engine, asyncio.Runner() as runner:
        pipeline = PosePipeline(engine)
        rows = []
        for clip in clips:
            results = find_poses(clip, pipeline, runner)
            if not results:
                raise SystemExit(f"{clip}: nobody is seen whole in it")
            chosen = evenly(results, arguments.columns)
            rows.append([panel(result, *window(chosen)) for result in chosen])
    picture = compose(rows)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.output), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    print(f"{arguments.output}: {picture.shape[1]}x{picture.shape[0]}")


if __name__ == "__main__":
    main()
