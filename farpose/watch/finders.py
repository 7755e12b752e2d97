"""Who finds the people of a camera's pictures: the models in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from farpose.answer import answer_of
from farpose.cores import usable_cores
from farpose.engine import EngineError
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository
from farpose.tracking import CameraSession
from farpose.watch.pictures import Picture

logger = logging.getLogger(__name__)

Answer = Mapping[str, Any]
"""`image`, `models`, `keypoint_names`, `people` and `timing_ms`, as `POST /pose` answers them."""


class UnansweredError(RuntimeError):
    """A picture could not be answered; the next one may be."""


class AwayError(RuntimeError):
    """Who finds people was lost with the picture; `ready` waits until it is back."""


class FatalError(RuntimeError):
    """No picture will be answered: the command ends."""


class Finder(Protocol):
    """Finds the people of one camera's pictures, in order."""

    async def ready(self) -> None:
        """Return when a picture can be looked at; `FatalError` if that will never be."""
        ...

    async def find(self, picture: Picture) -> Answer:
        """The people of a picture.

        Raises:
            UnansweredError: not of this one.
            AwayError: not before `ready`.
            FatalError: of none.
        """
        ...


class Finders(Protocol):
    """Makes finders."""

    @property
    def at_once(self) -> int:
        """How many pictures, of all cameras, are looked at at once; 0 for one of each."""
        ...

    @property
    def trouble(self) -> str:
        """Why nobody is found just now; empty when people are."""
        ...

    def camera(self, name: str) -> AbstractAsyncContextManager[Finder]:
        """One camera's, for as long as it is watched."""
        ...


@dataclass(frozen=True)
class EmbeddedSettings:
    """How people are found and followed in this process."""

    options: PoseOptions
    repository: Path | None = None
    """The bundled models if not given."""

    threads: int | None = None
    """CPU threads per run of a model; ONNX Runtime's choice if not given."""

    detect_every: int = 3
    smoothing: bool = True


class EmbeddedFinders:
    """The pipeline over models in this process, and a session for each camera."""

    at_once = max(4, usable_cores())
    """Enough that the models never wait for a picture to be converted or cropped."""

    trouble = ""

    def __init__(self, pipeline: PosePipeline, settings: EmbeddedSettings) -> None:
        self._pipeline = pipeline
        self._settings = settings

    @asynccontextmanager
    async def camera(self, name: str) -> AsyncIterator[Finder]:
        """See `Finders.camera`; `TrackingUnavailableError` without the package that follows."""
        # A thread, as the first session of a process imports the tracker, which takes a second.
        session = await asyncio.to_thread(
            CameraSession,
            detect_every=self._settings.detect_every,
            smoothing=self._settings.smoothing,
        )
        yield _EmbeddedFinder(self._pipeline, session, self._settings.options)


class _EmbeddedFinder:
    def __init__(
        self, pipeline: PosePipeline, session: CameraSession, options: PoseOptions
    ) -> None:
        self._pipeline = pipeline
        self._session = session
        self._options = options

    async def ready(self) -> None:
        """See `Finder.ready`."""

    async def find(self, picture: Picture) -> Answer:
        """See `Finder.find`."""
        image = await asyncio.to_thread(picture.rgb)
        try:
            result = await self._session.find(
                image, self._options, picture.timestamp, self._pipeline
            )
        except EngineError as error:
            raise UnansweredError(str(error)) from error
        return answer_of(result)


@asynccontextmanager
async def embedded(settings: EmbeddedSettings) -> AsyncIterator[Finders]:
    """The models, loaded and run once.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model is missing or fails.
    """
    from farpose.engines.onnxruntime import OnnxRuntimeEngine

    repository = settings.repository or default_repository()
    logger.info("loading the models")
    engine = await asyncio.to_thread(OnnxRuntimeEngine, repository, "cpu", settings.threads)
    with engine:
        pipeline = PosePipeline(engine)
        side = settings.options.detector_size
        await pipeline(np.zeros((side, side, 3), np.uint8), settings.options)
        yield EmbeddedFinders(pipeline, settings)
