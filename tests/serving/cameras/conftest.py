"""An application whose engine waits where a test wants it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from farpose.engine import ModelMetadata, Tensors
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose_serving.app import create_app
from farpose_serving.settings import Settings


@dataclass
class GatedEngine:
    """The real engine; frames of one width wait at a gate that the test opens."""

    inner: OnnxRuntimeEngine
    width: int = 0
    """Of the detector's input."""

    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def close_for(self, width: int) -> None:
        self.gate.clear()
        self.entered.clear()
        self.width = width

    def open(self) -> None:
        self.width = 0
        self.gate.set()

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        if "images" in inputs and inputs["images"].shape[2] == self.width:
            self.entered.set()
            await asyncio.to_thread(self.gate.wait, 30)
        return await self.inner.infer(model, inputs)

    async def metadata(self, model: str) -> ModelMetadata:
        return await self.inner.metadata(model)

    async def models(self) -> tuple[ModelMetadata, ...]:
        return await self.inner.models()


@pytest.fixture(scope="module")
def gated(repository: Path) -> Iterator[GatedEngine]:
    with OnnxRuntimeEngine(repository, threads=1) as engine:
        yield GatedEngine(engine)


@pytest.fixture(scope="module")
def cameras_client(repository: Path, gated: GatedEngine) -> Iterator[TestClient]:
    settings = Settings(repository=repository, max_cameras=3, max_running=4)
    with TestClient(create_app(settings, engine=gated), raise_server_exceptions=False) as client:
        yield client
        assert client.get("/health/ready").status_code == 200


@pytest.fixture(scope="module")
def bus_jpeg(bus: Path) -> bytes:
    return bus.read_bytes()
