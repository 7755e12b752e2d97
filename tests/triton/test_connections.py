"""The engine over links that are slow or go away, to a real Triton server."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from farpose.engine import EngineError, EngineTimeoutError
from farpose.engines import triton as module
from farpose.engines.triton import TritonEngine
from farpose_serving.triton.server import TritonServer
from tests.triton.links import Link

CROPS = {"crops": np.zeros((1, 64, 64, 3), np.uint8)}
BACK_SECONDS = 30


def test_a_server_that_takes_its_time_to_greet_is_reached(triton: TritonServer):
    async def ask() -> None:
        async with (
            Link(triton.ports.grpc, greeting=1.5) as link,
            TritonEngine(f"127.0.0.1:{link.port}", 30) as engine,
        ):
            await engine.infer("lowres_pose", CROPS)

    asyncio.run(ask())


def test_a_server_that_vanished_is_found_again(
    triton: TritonServer, monkeypatch: pytest.MonkeyPatch
):
    """Such as one whose machine lost its power and that came back elsewhere under its name."""
    monkeypatch.setattr(module, "KEEPALIVE_SECONDS", 0.5)
    for name in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        monkeypatch.setitem(module.CHANNEL_ARGUMENTS, name, 500)

    async def ask() -> list[type[Exception]]:
        async with (
            Link(triton.ports.grpc) as link,
            TritonEngine(f"127.0.0.1:{link.port}", 0.5) as engine,
        ):
            await engine.infer("lowres_pose", CROPS)
            link.vanish()
            failures: list[type[Exception]] = []
            end = time.monotonic() + BACK_SECONDS
            while time.monotonic() < end:
                try:
                    await engine.infer("lowres_pose", CROPS)
                except EngineError as error:
                    failures.append(type(error))
                    await asyncio.sleep(0.05)
                else:
                    return failures
            raise AssertionError(f"it is not found again: {failures}")

    assert EngineTimeoutError in asyncio.run(ask())
