"""What serves the requests of an application while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from farpose.engine import EngineTimeoutError, EngineUnavailableError, UnknownModelError
from farpose.pipeline import PoseResult
from farpose.tracking import CameraSession
from farpose_serving.access import Keys, address, caller, is_foreign, sent_key
from farpose_serving.admission import Admission
from farpose_serving.backends import Backend, ServedEngine, embedded, open_backend
from farpose_serving.cameras.registry import Cameras
from farpose_serving.metrics import Metrics, Reason, Source
from farpose_serving.problems import (
    DEADLINE,
    FOREIGN_ORIGIN,
    INTERNAL,
    NOT_READY,
    OVERLOADED,
    STALE_FRAME,
    SUPERSEDED,
    TOO_MANY,
    Kind,
    ProblemError,
    describe,
)
from farpose_serving.rates import Rates
from farpose_serving.settings import Settings
from farpose_serving.tracing import Tracing

logger = logging.getLogger(__name__)

MAX_STRANGERS: Final = 32
"""Each may send a message of `max_body_bytes` before it is known who it is."""

NOTE_SECONDS: Final = 0.5
"""How old a gauge of another process may be."""

_DROPS: Final[dict[Kind, Reason]] = {
    SUPERSEDED: "newer",
    STALE_FRAME: "stale",
    OVERLOADED: "overload",
    TOO_MANY: "rate",
    DEADLINE: "deadline",
    INTERNAL: "failed",
    NOT_READY: "unavailable",
}


@dataclass(frozen=True)
class Service:
    """The parts that routes use."""

    backend: Backend
    settings: Settings
    admission: Admission
    strangers: Admission
    """Streams whose first message, which has the key, is still to come."""

    cameras: Cameras
    keys: Keys | None
    rates: Rates
    metrics: Metrics
    tracing: Tracing | None

    @classmethod
    def over(
        cls, backend: Backend, settings: Settings, metrics: Metrics, tracing: Tracing | None
    ) -> Service:
        """The parts around what answers the pictures; `KeysError` if there are no keys to know."""
        new_session = partial(
            CameraSession, detect_every=settings.detect_every, smoothing=settings.smoothing
        )
        return cls(
            backend,
            settings,
            Admission(settings.max_running, settings.max_waiting),
            Admission(0, MAX_STRANGERS),
            Cameras(new_session, settings.camera_timeout, settings.max_cameras),
            None if settings.api_keys_file is None else Keys.read(settings.api_keys_file),
            Rates(settings.rate_limit),
            metrics,
            tracing,
        )

    @contextmanager
    def traced(self, scope: Scope, identifier: str) -> Iterator[None]:
        """A trace of its own for a picture of a stream, where traces are sent."""
        if self.tracing is None:
            yield
        else:
            with self.tracing.picture(scope, identifier):
                yield

    def answered(self, result: PoseResult, source: Source) -> None:
        """Count and trace a picture that has been answered."""
        self.metrics.frame(result, source)
        if self.tracing is not None:
            self.tracing.stages(result.timing_ms)

    @contextmanager
    def counting_drops(self) -> Iterator[None]:
        """Count a picture that is not answered, if it was none of the caller's fault."""
        try:
            yield
        except Exception as error:
            reason = _DROPS.get(describe(error).kind)
            if reason is not None:
                self.metrics.dropped(reason)
            raise

    async def keep_noting_load(self) -> None:
        """Bring the gauges up to date again and again.

        Where several processes serve, the one that Prometheus happens to ask tells for all.
        """
        while True:
            self.note_load()
            await asyncio.sleep(NOTE_SECONDS)

    def note_load(self) -> None:
        """Bring the gauges up to date."""
        self.metrics.load(
            waiting=self.admission.waiting,
            running=self.admission.running,
            cameras=len(self.cameras),
        )


@asynccontextmanager
async def running_service(
    settings: Settings,
    metrics: Metrics,
    tracing: Tracing | None = None,
    engine: ServedEngine | None = None,
) -> AsyncIterator[Service]:
    """Open what answers, and check it; what was opened here is closed at the end.

    A Triton server that is not there yet is no error: the service is not ready until it comes.

    Args:
        settings: which models, where.
        metrics: where it counts.
        tracing: where it sends spans.
        engine: used instead of loading one; it stays the caller's.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model is missing, breaks its contract or fails.
        KeysError: the file of keys cannot be used.
    """
    if engine is not None:
        yield Service.over(await embedded(engine, settings), settings, metrics, tracing)
        return
    headers = None if tracing is None else tracing.headers
    async with open_backend(settings, metrics.batch, headers) as backend:
        try:
            await backend.check()
        except (EngineUnavailableError, EngineTimeoutError, UnknownModelError) as error:
            logger.warning("not ready yet: %s", error)
        service = Service.over(backend, settings, metrics, tracing)
        async with _noting_load(service):
            yield service


@asynccontextmanager
async def _noting_load(service: Service) -> AsyncIterator[None]:
    if not service.metrics.shared:  # brought up to date when they are asked for
        yield
        return
    task = asyncio.create_task(service.keep_noting_load())
    try:
        yield
    finally:
        task.cancel()


async def caller_of(connection: HTTPConnection) -> str:
    """The name of who sends a request, `ANYBODY` where no keys are asked for.

    Raises:
        ProblemError: 401 without a key that is known; 503 while there is no service.
    """
    return caller(service_of(connection).keys, sent_key(connection))


async def sender_of(connection: HTTPConnection) -> str:
    """Like `caller_of`, for a request with a picture, which counts.

    Raises:
        ProblemError: 403, a page of a foreign origin sends it; 429, as in `Rates.count`.
    """
    service = service_of(connection)
    if is_foreign(connection, service.settings.cors_origins):
        detail = "A page of another origin sends this: FARPOSE_CORS_ORIGINS of the service lets it."
        raise ProblemError(FOREIGN_ORIGIN, detail)
    name = await caller_of(connection)
    with service.counting_drops():
        rate = service.rates.count(name or address(connection))
    connection.state.answer_headers = rate
    return name


async def the_service(connection: HTTPConnection) -> Service:
    """`service_of`, to depend on: FastAPI would call it in a thread, which takes longer than it."""
    return service_of(connection)


def service_of(request: HTTPConnection) -> Service:
    """The service of a request's application; `ProblemError` 503 while there is none."""
    service = getattr(request.app.state, "service", None)
    if not isinstance(service, Service):
        detail = "The models are not loaded: try again in a moment."
        raise ProblemError(NOT_READY, detail, {"Retry-After": "1"})
    return service
