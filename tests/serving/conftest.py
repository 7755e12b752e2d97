"""One application with the real models, shared by all serving tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from farpose.engine import ModelMetadata, Tensors
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from tests.serving.encoded import encode, gradient

MAX_BODY_BYTES = 6_000_000


@dataclass
class RecordingEngine:
    """The real engine; it keeps what each model was given."""

    inner: OnnxRuntimeEngine
    calls: list[tuple[str, Tensors]] = field(default_factory=list)
    failure: Exception | None = None
    """Raised instead of running a model."""

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        self.calls.append((model, inputs))
        if self.failure is not None:
            raise self.failure
        return await self.inner.infer(model, inputs)

    async def metadata(self, model: str) -> ModelMetadata:
        return await self.inner.metadata(model)

    async def models(self) -> tuple[ModelMetadata, ...]:
        return await self.inner.models()


@pytest.fixture(scope="session")
def settings(repository: Path) -> Settings:
    return Settings(repository=repository, threads=2, max_body_bytes=MAX_BODY_BYTES)


@pytest.fixture(scope="session")
def recording(settings: Settings) -> Iterator[RecordingEngine]:
    with OnnxRuntimeEngine(settings.repository, threads=settings.threads) as engine:
        yield RecordingEngine(engine)


@pytest.fixture(scope="session")
def app(settings: Settings, recording: RecordingEngine) -> FastAPI:
    return create_app(settings, engine=recording)


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    """Requests to the application, whose lifespan runs for the whole session.

    After the last test it must still answer, whatever it was sent.
    """
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
        assert client.get("/health/ready").status_code == 200


@pytest.fixture(scope="session")
def small_jpeg() -> bytes:
    """A gradient of 96x64 pixels: valid, with nobody in it."""
    return encode(gradient(), ".jpg")
