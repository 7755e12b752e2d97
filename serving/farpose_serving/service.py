"""What serves the requests: an engine that was checked and warmed up, and the pipeline over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from fastapi import Request

from farpose.engine import Engine, EngineError, ModelMetadata
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.pipeline import DETECTOR, PosePipeline
from farpose_serving.problems import NOT_READY, ProblemError
from farpose_serving.settings import Settings

WARM_UP_SIZE: Final = 640
"""Side of the detector's first input in pixels: the largest that the default options lead to."""


class ServedEngine(Engine, Protocol):
    """An engine that can tell which models it has."""

    def models(self) -> tuple[ModelMetadata, ...]:
        """What is known of every model."""
        ...


@dataclass(frozen=True)
class Service:
    """The parts that routes use."""

    engine: ServedEngine
    pipeline: PosePipeline
    settings: Settings


@asynccontextmanager
async def running_service(
    settings: Settings, engine: ServedEngine | None = None
) -> AsyncIterator[Service]:
    """Load, check and warm up; what was loaded here is closed at the end.

    Args:
        settings: which models, where.
        engine: used instead of loading one; it stays the caller's.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model is missing, breaks its contract or fails.
    """
    if engine is not None:
        yield await _ready(settings, engine)
        return
    with OnnxRuntimeEngine(settings.repository, settings.device, settings.threads) as loaded:
        yield await _ready(settings, loaded)


def service_of(request: Request) -> Service:
    """The service of a request's application; `ProblemError` 503 while there is none."""
    service = getattr(request.app.state, "service", None)
    if not isinstance(service, Service):
        detail = "The models are not loaded: try again in a moment."
        raise ProblemError(NOT_READY, detail, {"Retry-After": "1"})
    return service


async def _ready(settings: Settings, engine: ServedEngine) -> Service:
    pipeline = PosePipeline(engine, settings.max_pixels)
    try:
        _check_detector(await engine.metadata(DETECTOR))
        pose = await pipeline.pose_model("auto")
        frame = np.zeros((1, WARM_UP_SIZE, WARM_UP_SIZE, 3), np.uint8)
        await engine.infer(DETECTOR, {"images": frame})
        crops = np.zeros((1, pose.resolution, pose.resolution, 3), np.uint8)
        await engine.infer(pose.metadata.name, {"crops": crops})
    except EngineError as error:
        raise EngineError(f"{settings.repository}: {error}") from error
    return Service(engine, pipeline, settings)


def _check_detector(metadata: ModelMetadata) -> None:
    inputs = {tensor.name: (tensor.dtype, len(tensor.shape)) for tensor in metadata.inputs}
    outputs = {tensor.name for tensor in metadata.outputs}
    if inputs != {"images": (np.dtype(np.uint8), 4)} or not {"boxes", "scores"} <= outputs:
        raise EngineError(f"{metadata.name} is not a detector: it has no images to boxes, scores")
