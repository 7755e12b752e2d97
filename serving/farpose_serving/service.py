"""What serves the requests of an application while it runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from farpose.engine import EngineTimeoutError, EngineUnavailableError, UnknownModelError
from farpose_serving.backends import Backend, ServedEngine, embedded, open_backend
from farpose_serving.problems import NOT_READY, ProblemError
from farpose_serving.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that routes use."""

    backend: Backend
    settings: Settings


@asynccontextmanager
async def running_service(
    settings: Settings, engine: ServedEngine | None = None
) -> AsyncIterator[Service]:
    """Open what answers, and check it; what was opened here is closed at the end.

    A Triton server that is not there yet is no error: the service is not ready until it comes.

    Args:
        settings: which models, where.
        engine: used instead of loading one; it stays the caller's.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model is missing, breaks its contract or fails.
    """
    if engine is not None:
        yield Service(await embedded(engine, settings), settings)
        return
    async with open_backend(settings) as backend:
        try:
            await backend.check()
        except (EngineUnavailableError, EngineTimeoutError, UnknownModelError) as error:
            logger.warning("not ready yet: %s", error)
        yield Service(backend, settings)


def service_of(request: Request) -> Service:
    """The service of a request's application; `ProblemError` 503 while there is none."""
    service = getattr(request.app.state, "service", None)
    if not isinstance(service, Service):
        detail = "The models are not loaded: try again in a moment."
        raise ProblemError(NOT_READY, detail, {"Retry-After": "1"})
    return service
