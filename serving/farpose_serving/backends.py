"""What answers the pictures: the pipeline here, over an engine, or the one inside Triton."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import numpy as np

from farpose.engine import (
    Engine,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelMetadata,
)
from farpose.engines.onnxruntime import OnBatch, OnnxRuntimeEngine
from farpose.engines.triton import TritonEngine
from farpose.engines.triton_pipeline import TritonPipeline
from farpose.options import PoseOptions
from farpose.pipeline import DETECTOR, PosePipeline, PoseResult
from farpose.pose_model import DEFAULT_POSE_MODEL, SMALL_POSE_MODEL
from farpose.remote_pipeline import PIPELINE, OptionsError
from farpose_serving.settings import Settings

WARM_UP_SIZE: Final = 640
"""Side of the detector's first input in pixels: the largest that the default options lead to."""


class ServedEngine(Engine, Protocol):
    """An engine that can tell which models it has."""

    async def models(self) -> tuple[ModelMetadata, ...]:
        """What is known of every model."""
        ...


class Backend(Protocol):
    """Answers pictures."""

    async def find(self, picture: bytes, options: PoseOptions) -> PoseResult:
        """The people of an encoded picture.

        Raises:
            ImageError, BoxError, OptionsError: the caller can put it right.
            EngineError: a model is missing, failed or did not answer.
        """
        ...

    async def models(self) -> tuple[ModelMetadata, ...]:
        """What is known of every model; `EngineError` where that cannot be had."""
        ...

    async def check(self) -> None:
        """Return if pictures can be sent; `EngineError` says why not."""
        ...


class _EngineBackend:
    """The pipeline over an engine."""

    def __init__(self, engine: ServedEngine, settings: Settings) -> None:
        self._engine = engine
        self._pipeline = PosePipeline(engine, settings.max_pixels, settings.small_person)

    async def find(self, picture: bytes, options: PoseOptions) -> PoseResult:
        """See `Backend.find`."""
        await self._check_pose_model(options.pose_model)
        return await self._pipeline(picture, options)

    async def models(self) -> tuple[ModelMetadata, ...]:
        """See `Backend.models`."""
        return await self._engine.models()

    async def _check_pose_model(self, name: str) -> None:
        """Judge the caller's option apart from the run, whose failures are not his fault."""
        try:
            await self._pipeline.routing(name)
        except (EngineUnavailableError, EngineTimeoutError):
            raise
        except EngineError as error:
            if name == "auto":
                raise
            raise OptionsError(f"pose_model: {error}") from error

    async def _check_contracts(self) -> dict[str, int]:
        """Pose models that people go to, with the side of their crops in pixels.

        Raises:
            EngineError: a model is missing or is not what its name says.
        """
        detector = await self._engine.metadata(DETECTOR)
        inputs = {tensor.name: (tensor.dtype, len(tensor.shape)) for tensor in detector.inputs}
        outputs = {tensor.name for tensor in detector.outputs}
        if inputs != {"images": (np.dtype(np.uint8), 4)} or not {"boxes", "scores"} <= outputs:
            raise EngineError(
                f"{detector.name} is not a detector: it has no images to boxes, scores"
            )
        routing = await self._pipeline.routing("auto")
        models = [routing.pose, *([routing.small] if routing.small else [])]
        return {model.metadata.name: model.resolution for model in models}


class EmbeddedBackend(_EngineBackend):
    """The pipeline over an engine in this process, which is ready once it is loaded."""

    async def check(self) -> None:
        """See `Backend.check`."""

    async def warm_up(self) -> None:
        """Check the contracts and run each model once; `EngineError` if one fails."""
        resolutions = await self._check_contracts()
        frame = np.zeros((1, WARM_UP_SIZE, WARM_UP_SIZE, 3), np.uint8)
        await self._engine.infer(DETECTOR, {"images": frame})
        for name, resolution in resolutions.items():
            crops = np.zeros((1, resolution, resolution, 3), np.uint8)
            await self._engine.infer(name, {"crops": crops})


class TritonBackend(_EngineBackend):
    """The pipeline here over the models of a Triton server, which comes and goes."""

    def __init__(self, engine: TritonEngine, settings: Settings) -> None:
        super().__init__(engine, settings)
        self._server = engine
        self._small_person = settings.small_person

    async def check(self) -> None:
        """See `Backend.check`."""
        small = [SMALL_POSE_MODEL] if self._small_person else []
        await _check_loaded(self._server, DETECTOR, DEFAULT_POSE_MODEL, *small)
        await self._check_contracts()


class PipelineBackend:
    """The model `pose_pipeline` of a Triton server: one call per picture."""

    def __init__(self, engine: TritonEngine) -> None:
        self._engine = engine
        self._pipeline = TritonPipeline(engine)

    async def find(self, picture: bytes, options: PoseOptions) -> PoseResult:
        """See `Backend.find`."""
        return await self._pipeline(picture, options)

    async def models(self) -> tuple[ModelMetadata, ...]:
        """See `Backend.models`."""
        return await self._engine.models()

    async def check(self) -> None:
        """See `Backend.check`."""
        await _check_loaded(self._engine, PIPELINE, DETECTOR, DEFAULT_POSE_MODEL)


@asynccontextmanager
async def open_backend(
    settings: Settings,
    on_batch: OnBatch | None = None,
    headers: Callable[[], dict[str, str]] | None = None,
) -> AsyncIterator[Backend]:
    """What the settings name; it is closed at the end.

    Args:
        settings: which models, where.
        on_batch: is told of the runs of models in this process.
        headers: more to send with every call of a Triton server.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model in this process is missing, breaks its contract or fails.
    """
    if settings.engine == "onnxruntime":
        with OnnxRuntimeEngine(
            settings.repository, settings.device, settings.threads, on_batch
        ) as engine:
            yield await embedded(engine, settings)
        return
    async with TritonEngine(
        settings.triton_url,
        settings.deadline_ms / 1e3,
        shared_memory=settings.triton_shared_memory,
        headers=headers,
    ) as server:
        if settings.engine == "triton":
            yield TritonBackend(server, settings)
        else:
            yield PipelineBackend(server)


async def embedded(engine: ServedEngine, settings: Settings) -> EmbeddedBackend:
    """The pipeline over an engine, checked and warmed up; `EngineError` if a model fails."""
    backend = EmbeddedBackend(engine, settings)
    try:
        await backend.warm_up()
    except EngineError as error:
        raise EngineError(f"{settings.repository}: {error}") from error
    return backend


async def _check_loaded(engine: TritonEngine, *names: str) -> None:
    for name in names:
        if not await engine.is_ready(name):
            raise EngineUnavailableError(f"Triton at {engine.url}: {name} is not ready")
