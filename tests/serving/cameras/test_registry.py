"""Cameras are told apart, forgotten when silent, and bounded in number."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from farpose_serving.cameras.registry import Camera, Cameras, ClockError, TooManyCamerasError


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def cameras(limit: int = 3, timeout: float = 30) -> tuple[Cameras, Clock]:
    numbers, clock = itertools.count(), Clock()
    return Cameras(lambda: next(numbers), timeout, limit, clock), clock


async def session(registry: Cameras, name: str, caller: str = "") -> int:
    async with registry.camera(caller, name) as camera:
        return camera.session


def test_a_camera_keeps_its_session_and_shares_it_with_nobody():
    registry, _ = cameras()

    async def run() -> None:
        assert await session(registry, "gate") == 0
        assert await session(registry, "yard") == 1
        assert await session(registry, "gate") == 0
        assert await session(registry, "gate", caller="another") == 2

    asyncio.run(run())


def test_a_silent_camera_is_forgotten_and_makes_room():
    registry, clock = cameras(limit=2)

    async def run() -> None:
        assert [await session(registry, name) for name in "ab"] == [0, 1]
        with pytest.raises(TooManyCamerasError, match="2 cameras"):
            await session(registry, "c")
        clock.now += 20
        assert await session(registry, "a") == 0
        clock.now += 15
        assert len(registry) == 1
        assert await session(registry, "c") == 2
        assert await session(registry, "a") == 0
        clock.now += 31
        assert await session(registry, "a") == 3

    asyncio.run(run())


def test_a_camera_at_work_is_not_forgotten_however_long_it_takes():
    registry, clock = cameras()

    async def run() -> None:
        async with registry.camera("", "slow") as camera, camera.turn.hold(0.0):
            clock.now += 1000
            assert len(registry) == 1
        clock.now += 20
        assert await session(registry, "slow") == 0

    asyncio.run(run())


def test_streams_count_and_end_with_their_connection():
    registry, _ = cameras(limit=2)

    async def run() -> None:
        async with registry.stream() as first, registry.stream() as second:
            assert (first.session, second.session) == (0, 1)
            with pytest.raises(TooManyCamerasError):
                async with registry.stream():
                    pass
            assert len(registry) == 2
        assert len(registry) == 0

    asyncio.run(run())


def test_pictures_of_a_camera_that_come_while_its_session_is_made_share_it():
    made = []

    def slow() -> int:
        time.sleep(0.1)
        made.append(len(made))
        return made[-1]

    registry = Cameras(slow, timeout=30, limit=1)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        first, second = (asyncio.create_task(session(registry, "gate")) for _ in range(2))
        await asyncio.sleep(0)
        assert loop.time() - start < 0.1  # nobody else waits for it
        one, other = await first, await second
        assert one == other
        assert len(registry) == 1

    asyncio.run(run())


def test_a_camera_goes_by_one_clock():
    camera = Camera(None)
    assert camera.time_of(5.0, 100.0) == 5.0
    assert camera.time_of(6.0, 101.0) == 6.0
    with pytest.raises(ClockError, match="came with one"):
        camera.time_of(None, 102.0)
    other = Camera(None)
    assert other.time_of(None, 100.0) == 100.0
    with pytest.raises(ClockError, match="came without one"):
        other.time_of(5.0, 102.0)
