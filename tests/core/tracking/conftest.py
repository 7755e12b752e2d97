"""A real clip of people who walk through, one after another, and the real models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.options import PoseOptions
from farpose.pipeline import DEFAULT_OPTIONS, PosePipeline, PoseResult
from farpose.tracking import CameraSession

CLIP = "video/one-by-one-person-detection.mp4"
FRAMES_PER_SECOND = 10


@pytest.fixture(scope="session")
def walk(data: Path) -> list[bytes]:
    """One person comes in at frame 61 of the clip and is gone at 200: frames 50 to 210, as JPEG."""
    clip, pictures = cv2.VideoCapture(str(data / CLIP)), []
    for number in range(211):
        read, frame = clip.read()
        assert read
        if number >= 50:
            pictures.append(cv2.imencode(".jpg", frame)[1].tobytes())
    return pictures


@dataclass
class Camera:
    """A session over the real pipeline that notes what it asked of it."""

    pipeline: PosePipeline
    detect_every: int = 3
    smoothing: bool = False
    asked: list[PoseOptions] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = CameraSession(detect_every=self.detect_every, smoothing=self.smoothing)

    async def find(self, picture: bytes, options: PoseOptions) -> PoseResult:
        self.asked.append(options)
        return await self.pipeline(picture, options)

    def see(self, picture: bytes, timestamp: float, **options) -> PoseResult:
        asked = PoseOptions(**options)
        return asyncio.run(self.session.find(picture, asked, timestamp, self.find))

    def watch(self, pictures: list[bytes], **options) -> list[PoseResult]:
        return [
            self.see(picture, i / FRAMES_PER_SECOND, **options)
            for i, picture in enumerate(pictures)
        ]

    @property
    def detections(self) -> list[bool]:
        return [options.boxes is None for options in self.asked]


class RememberingPipeline(PosePipeline):
    """The real pipeline, which answers what it was asked before as it did then.

    The detector would find the same people of the same pictures in test after test.
    """

    def __init__(self, engine: OnnxRuntimeEngine) -> None:
        super().__init__(engine)
        self._found: dict[tuple[bytes, str], PoseResult] = {}

    async def __call__(self, image, options: PoseOptions = DEFAULT_OPTIONS) -> PoseResult:
        if options.boxes is not None or not isinstance(image, bytes):
            return await super().__call__(image, options)
        asked = image, options.model_dump_json()
        if asked not in self._found:
            self._found[asked] = await super().__call__(image, options)
        return self._found[asked]


@pytest.fixture(scope="session")
def pipeline(repository: Path) -> Iterator[PosePipeline]:
    with OnnxRuntimeEngine(repository, threads=1) as engine:
        yield RememberingPipeline(engine)
