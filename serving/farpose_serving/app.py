"""The ASGI application, put together from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from farpose_serving import pose, status
from farpose_serving.backends import ServedEngine
from farpose_serving.problems import add_problem_handlers
from farpose_serving.request_ids import RequestIds
from farpose_serving.service import running_service
from farpose_serving.settings import Settings


def create_app(settings: Settings, *, engine: ServedEngine | None = None) -> FastAPI:
    """An application that is ready once its lifespan has started.

    Args:
        settings: which models, and the limits.
        engine: runs the models instead of one loaded by the settings; the caller closes it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_service(settings, engine) as service:
            app.state.service = service
            try:
                yield
            finally:
                del app.state.service

    # /docs with its scripts from the installed package: a service may have no internet.
    app = FastAPIOffline(
        redoc_url=None,
        title="Farpose",
        summary="Human pose estimation for people who are only a few dozen pixels tall",
        version=_version(),
        lifespan=lifespan,
    )
    app.add_middleware(RequestIds)
    add_problem_handlers(app)
    app.include_router(pose.router)
    app.include_router(status.router)
    app.add_api_route("/", _to_docs, include_in_schema=False)
    return app


async def _to_docs() -> RedirectResponse:
    return RedirectResponse("docs")


def _version() -> str:
    try:
        return version("farpose")
    except PackageNotFoundError:
        return "0+unknown"
