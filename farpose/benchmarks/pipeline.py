"""Milliseconds per stage of the pipeline, for a frame of 1280x720 with four people.

One repetition decodes the frame and runs the detector on it as the service does, then crops and
poses exactly four boxes and writes the answer, so that runs are comparable whatever the detector
finds.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.images import decode_image
from farpose.options import Box, PoseOptions
from farpose.pipeline import PosePipeline

WIDTH: Final = 1280
HEIGHT: Final = 720

STAGES: Final = ("decode", "letterbox", "detector", "crop", "pose", "answer", "other")
"""In order. `answer` is JSON; `other` is what lies between the stages."""

MODELS: Final = ("detector", "pose")
"""Stages that are inference."""

FIXED_BOXES: Final[tuple[Box, ...]] = (
    (180.0, 300.0, 228.0, 420.0),
    (420.0, 330.0, 452.0, 402.0),
    (700.0, 280.0, 764.0, 440.0),
    (1010.0, 340.0, 1034.0, 396.0),
)
"""Four people, 56 to 160 pixels tall."""


@dataclass(frozen=True)
class PipelineTiming:
    """Medians over the repetitions, in milliseconds."""

    detector_size: int
    stages: dict[str, float]
    """Of `STAGES`."""

    total: float

    def share(self, stage: str) -> float:
        """Part of the sum of all stages, 0..1."""
        return self.stages[stage] / sum(self.stages.values())

    @property
    def pose_per_detector(self) -> float:
        """Time of crop and pose, over that of the detector."""
        return (self.stages["crop"] + self.stages["pose"]) / self.stages["detector"]

    @property
    def outside_models(self) -> float:
        """Part of the time that is no inference, 0..1."""
        return 1 - sum(self.share(stage) for stage in MODELS)


def generated_frame() -> bytes:
    """A textured JPEG of 1280x720, always the same, with a darker figure in each fixed box.

    It costs what a photograph costs to decode; its figures are no people to a detector.
    """
    rng = np.random.default_rng(0)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cell in (4, 16, 64, 240):
        noise = rng.normal(0, 18, (HEIGHT // cell + 1, WIDTH // cell + 1, 3)).astype(np.float32)
        canvas += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = np.clip(canvas + 128, 0, 255).astype(np.uint8)
    for x1, y1, x2, y2 in FIXED_BOXES:
        center = round((x1 + x2) / 2), round((y1 + y2) / 2)
        cv2.ellipse(image, center, (round((x2 - x1) / 3), round((y2 - y1) / 2)), 0, 0, 360, 60, -1)
    return encode_jpeg(image)


def as_frame(data: bytes) -> bytes:
    """A user's picture as a JPEG of 1280x720: cut to that shape about its middle, and resized.

    Raises:
        ImageError: it cannot be read.
    """
    image = decode_image(data)
    height, width = image.shape[:2]
    factor = max(WIDTH / width, HEIGHT / height)
    left = round((width - WIDTH / factor) / 2)
    top = round((height - HEIGHT / factor) / 2)
    cut = image[top : top + round(HEIGHT / factor), left : left + round(WIDTH / factor)]
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=interpolation)
    return encode_jpeg(np.asarray(resized, np.uint8))


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """`[H,W,3]` RGB as a JPEG of quality 90."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )
    return encoded.tobytes()


async def people_to_pose(pipeline: PosePipeline, frame: bytes) -> tuple[Box, ...]:
    """The four surest detections of a frame at 640, or the fixed boxes if there are fewer."""
    result = await pipeline(frame, PoseOptions(max_people=len(FIXED_BOXES)))
    if len(result.people) < len(FIXED_BOXES):
        return FIXED_BOXES
    return tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in result.people.boxes.tolist())


async def time_pipeline(
    pipeline: PosePipeline,
    frame: bytes,
    boxes: tuple[Box, ...],
    *,
    detector_size: int,
    repetitions: int,
    warmup: int = 3,
    pose_model: str = "auto",
) -> PipelineTiming:
    """Time the stages on one frame.

    Args:
        pipeline: under test.
        frame: an encoded picture.
        boxes: the people to pose, in its pixels.
        detector_size: longer side of the detector's input in pixels.
        repetitions: that are timed.
        warmup: that are not.
        pose_model: name of the pose model.
    """
    # At a threshold of 1 the detector's people are left out, so no one is posed twice.
    finding = PoseOptions(
        detection_threshold=1.0, detector_size=detector_size, pose_model=pose_model
    )
    posing = PoseOptions(boxes=boxes, pose_model=pose_model)
    image = decode_image(frame)
    rows = []
    for _ in range(warmup + repetitions):
        start = time.perf_counter()
        found = await pipeline(frame, finding)
        posed = await pipeline(image, posing)
        before_answer = time.perf_counter()
        json.dumps(posed.people.to_dict())
        end = time.perf_counter()
        row = {stage: found.timing_ms[stage] for stage in ("decode", "letterbox", "detector")}
        row |= {stage: posed.timing_ms[stage] for stage in ("crop", "pose")}
        row["answer"] = (end - before_answer) * 1e3
        total = (end - start) * 1e3
        rows.append([*row.values(), max(total - sum(row.values()), 0.0), total])
    *stages, total = np.median(np.array(rows[warmup:]), axis=0).tolist()
    return PipelineTiming(detector_size, dict(zip(STAGES, stages, strict=True)), total)
