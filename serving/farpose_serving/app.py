"""The ASGI application, put together from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from farpose_serving import metrics_route, pose, status, stream
from farpose_serving.access import KEY_SCHEMES
from farpose_serving.api_document import DESCRIPTION, add_problem_schema
from farpose_serving.backends import ServedEngine
from farpose_serving.deadlines import DEADLINE_HEADER
from farpose_serving.metrics import Metrics
from farpose_serving.observed import Observed
from farpose_serving.page_route import page_router
from farpose_serving.problems import add_problem_handlers
from farpose_serving.request_ids import REQUEST_ID_HEADER, RequestIds
from farpose_serving.safe_headers import SafeHeaders
from farpose_serving.service import running_service
from farpose_serving.settings import Settings
from farpose_serving.tracing import Traced, Tracing

ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    DEADLINE_HEADER,
    REQUEST_ID_HEADER,
    "X-API-Key",
)
"""That pages of other origins may send, where `cors_origins` lets them."""


def create_app(settings: Settings, *, engine: ServedEngine | None = None) -> FastAPI:
    """An application that is ready once its lifespan has started.

    Args:
        settings: which models, and the limits.
        engine: runs the models instead of one loaded by the settings; the caller closes it.
    """
    metrics = Metrics(camera_labels=settings.camera_labels)

    tracing = None if settings.tracing_endpoint is None else Tracing(settings.tracing_endpoint)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_service(settings, metrics, tracing, engine) as service:
            app.state.service = service
            try:
                yield
            finally:
                del app.state.service
                if tracing is not None:
                    await asyncio.to_thread(tracing.close)

    # /docs with its scripts from the installed package: a service may have no internet.
    app = FastAPIOffline(
        redoc_url=None,
        title="Farpose",
        summary="Human pose estimation for people who are only a few dozen pixels tall",
        description=DESCRIPTION,
        version=_version(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,  # the address would come from the Host header
    )
    app.state.cors_origins = settings.cors_origins
    stack = app.build_middleware_stack
    app.build_middleware_stack = lambda: _around(  # type: ignore[method-assign]
        stack(), settings, metrics, tracing
    )
    add_problem_handlers(app)
    add_problem_schema(app)
    keys = KEY_SCHEMES if settings.api_keys_file is not None else []
    app.include_router(pose.router, dependencies=keys)
    app.include_router(stream.router)
    app.include_router(status.models, dependencies=keys)
    app.include_router(metrics_route.router, dependencies=keys)
    app.include_router(status.health)
    app.include_router(page_router())
    return app


def _around(app: ASGIApp, settings: Settings, metrics: Metrics, tracing: Tracing | None) -> ASGIApp:
    """The application within our middleware.

    What is added by `add_middleware` does not see Starlette's answers to failures, which would then
    have no headers of ours.
    """
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=[REQUEST_ID_HEADER, "RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app = Observed(SafeHeaders(app), metrics)
    if tracing is not None:
        app = Traced(app, tracing)
    return RequestIds(app)


def _version() -> str:
    try:
        return version("farpose")
    except PackageNotFoundError:
        return "0+unknown"
