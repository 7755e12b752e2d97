"""The people of frames of an archive, with their tracks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from farpose.cores import usable_cores
from farpose.engines.repository import RepositoryModel, onnx_models
from farpose.frame_clock import FrameClock
from farpose.options import PoseOptions
from farpose.pipeline import DETECTOR, PosePipeline, PoseResult
from farpose.pose_model import DEFAULT_POSE_MODEL
from farpose.sources import Frame

if TYPE_CHECKING:
    from farpose.tracking import Find

MOST_LANES: Final = 16
"""Copies of the models in one process."""


@dataclass(frozen=True)
class Tracking:
    """How people are followed through a video."""

    detect_every: int = 1
    """The detector runs at least on every so many-th frame. Above 1 the frames of a video wait for
    each other, as where to look follows from the frame before."""

    smoothing: bool = False
    """Whether keypoints are smoothed over time."""


class PeopleFinder:
    """Answers frames of pictures and videos; those of a tracked video must come in order.

    There are as many copies of the models as cores, of one thread each, and frames go round: that
    wastes less than one copy whose threads wait for each other.

    Args:
        repository: the models.
        options: of every frame.
        tracking: for videos; None for no tracks.
        threads: of all models together; the machine's cores if not given.
        on_run: told of every run of a model, as `OnnxRuntimeEngine` does.

    Raises:
        EngineError: a model cannot be loaded, or there is no such pose model.
        RepositoryError: there is no such repository.
        TrackingUnavailableError: the package that follows people is not installed.
    """

    def __init__(
        self,
        repository: Path,
        options: PoseOptions,
        tracking: Tracking | None = None,
        threads: int | None = None,
        on_run: Callable[[str, float, float], None] | None = None,
    ) -> None:
        from farpose.engines.onnxruntime import OnnxRuntimeEngine

        threads = threads or usable_cores()
        waits = tracking is not None and tracking.detect_every > 1
        lanes = 1 if waits else min(threads, MOST_LANES)
        self._options = options
        self._tracking = tracking
        self._video: _Video | None = None
        self._next = 0
        with contextlib.ExitStack() as resources:
            models = _models(repository, options.pose_model)
            engines = [
                resources.enter_context(
                    OnnxRuntimeEngine.from_models(
                        models, threads=max(1, threads // lanes), on_run=on_run
                    )
                )
                for _ in range(lanes)
            ]
            self._pipelines = [PosePipeline(engine) for engine in engines]
            asyncio.run(self._pipelines[0].pose_model(options.pose_model))  # a wrong name ends here
            if tracking is not None:
                _Video(tracking, Path())  # a missing package, too
            self._resources = resources.pop_all()

    async def __call__(self, frame: Frame) -> PoseResult:
        """The people of a frame.

        Raises:
            EngineError: a model failed.
        """
        pipeline = self._pipelines[self._next]
        self._next = (self._next + 1) % len(self._pipelines)
        if self._tracking is None or frame.index is None:
            return await pipeline(frame.image, self._options)
        if self._video is None or frame.index == 0 or self._video.source != frame.source:
            self._video = _Video(self._tracking, frame.source)
        return await self._video.find(frame, self._options, pipeline)

    def close(self) -> None:
        """Free the models."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _models(repository: Path, pose_model: str) -> list[RepositoryModel]:
    """Those that are needed, or all where one of them is missing, for an error that lists them."""
    models = onnx_models(repository)
    wanted = {DETECTOR, DEFAULT_POSE_MODEL if pose_model == "auto" else pose_model}
    return [m for m in models.values() if m.name in wanted or not wanted <= models.keys()]


class _Video:
    """The session of one video, and whose turn it is."""

    def __init__(self, tracking: Tracking, source: Path) -> None:
        from farpose.tracking import CameraSession

        self.source = source
        self._ahead = tracking.detect_every == 1
        self._session = CameraSession(
            detect_every=tracking.detect_every, smoothing=tracking.smoothing
        )
        self._last: asyncio.Event | None = None
        self._clock = FrameClock()

    async def find(self, frame: Frame, options: PoseOptions, pipeline: PosePipeline) -> PoseResult:
        before, self._last = self._last, asyncio.Event()
        done = self._last

        find: Find[NDArray[np.uint8]] = pipeline
        try:
            if self._ahead:
                # What the session would ask for: every frame is detected, whoever was there before.
                asked = options.model_copy(update={"keypoint_threshold": 0.0, "boxes": None})
                find = _known(await pipeline(frame.image, asked))
            if before is not None:
                await before.wait()
            return await self._session.find(frame.image, options, self._clock(frame), find)
        finally:
            done.set()


def _known(result: PoseResult) -> Find[NDArray[np.uint8]]:
    async def answer(_: NDArray[np.uint8], __: PoseOptions) -> PoseResult:
        return result

    return answer
