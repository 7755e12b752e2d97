"""The real service, killed with requests in its hands and started again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from farpose_client import (
    AsyncClient,
    Backoff,
    Client,
    ConnectionFailedError,
    PoseResult,
    StreamReply,
)
from tests.clients.python.conftest import Mortal

FOR_EVER = Backoff(attempts=None, first=0.2, most=0.5)


def call(url: str, picture: bytes) -> PoseResult:
    with Client(url, retries=FOR_EVER) as client:
        return client.pose(picture)


def call_async(url: str, picture: bytes) -> PoseResult:
    async def run() -> PoseResult:
        async with AsyncClient(url, retries=FOR_EVER) as client:
            return await client.pose(picture)

    return asyncio.run(run())


def stream(url: str, picture: bytes, ready: Callable[[], Any]) -> list[StreamReply]:
    """Two pictures before the service freezes, two while it is frozen, two after its restart."""
    with Client(url) as client, client.stream(reconnect=FOR_EVER) as camera:
        replies = []
        for _ in range(2):
            camera.send(picture)
            replies.append(camera.receive(60))
        ready()
        camera.send(picture)
        camera.send(picture)
        replies.append(camera.receive(60))
        for _ in range(2):
            camera.send(picture)
            replies.append(camera.receive(60))
        return replies


def stream_async(url: str, picture: bytes, ready: Callable[[], Any]) -> list[StreamReply]:
    async def run() -> list[StreamReply]:
        async with AsyncClient(url) as client, client.stream(reconnect=FOR_EVER) as camera:
            replies = []
            for _ in range(2):
                await camera.send(picture)
                replies.append(await camera.receive(60))
            await asyncio.to_thread(ready)
            # One task sends while another receives.
            waiting = asyncio.create_task(camera.receive(60))
            await camera.send(picture)
            await camera.send(picture)
            replies.append(await waiting)
            for _ in range(2):
                await camera.send(picture)
                replies.append(await camera.receive(60))
            return replies

    return asyncio.run(run())


def stream_once(url: str, picture: bytes, ready: Callable[[], Any]) -> None:
    """It does not connect anew."""
    with Client(url) as client, client.stream() as camera:
        camera.send(picture)
        camera.receive(60)
        ready()
        camera.send(picture)
        with pytest.raises(ConnectionFailedError, match="hung up"):
            camera.receive(60)
        with pytest.raises(ConnectionFailedError):
            camera.send(picture)


def test_callers_and_cameras_survive_a_restart(service: Mortal, picture: Path):
    content = picture.read_bytes()
    with ThreadPoolExecutor(5) as pool:
        frozen = threading.Barrier(4, action=service.freeze, timeout=60)
        cameras: list[Future[Any]] = [
            pool.submit(use, service.url, content, frozen.wait)
            for use in (stream, stream_async, stream_once)
        ]
        frozen.wait()
        calls = [pool.submit(use, service.url, content) for use in (call, call_async)]
        time.sleep(0.5)
        service.kill()
        time.sleep(0.5)
        assert not any(caller.done() for caller in calls)
        service.start()
        for caller in calls:
            assert len(caller.result(60).people) == 3
        assert cameras[2].result(60) is None
        for camera in cameras[:2]:
            replies = camera.result(60)
            # The newest of the pictures that got no reply is sent again, the other one is lost.
            assert [reply.frame for reply in replies] == [0, 1, 3, 4, 5]
            assert [reply.connection for reply in replies] == [0, 0, 1, 1, 1]
            assert [reply.dropped for reply in replies] == [0, 0, 1, 0, 0]
            assert all(len(reply.people) == 3 for reply in replies)
            # Track ids start anew.
            ids = [{p.track_id for p in replies[i].people} for i in (1, 4)]
            assert ids[0] & ids[1]
