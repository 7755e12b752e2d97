"""The newest picture of a camera wins over those that wait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from farpose_serving.cameras.newest import NewestItem, NewestTurn, SupersededError


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def with_turn(test: Callable[[NewestTurn, Callable[..., asyncio.Task[str]]], Awaitable[None]]):
    """Run a test with a turn and a way to queue for it.

    Who is inside waits for the `start` and then, its work begun, for the `gate`. Pictures that
    have no time of their own are taken one after the other.
    """

    async def run() -> None:
        turn, start, gate = NewestTurn(), asyncio.Event(), asyncio.Event()
        numbers = itertools.count()

        async def work(taken: float) -> str:
            async with turn.hold(taken) as begin:
                await start.wait()
                begin()
                await gate.wait()
            return "done"

        def queue(taken: float | None = None) -> asyncio.Task[str]:
            return asyncio.create_task(work(next(numbers) if taken is None else taken))

        turn.start, turn.gate = start, gate
        start.set()
        await asyncio.wait_for(test(turn, queue), 5)
        assert not turn.held

    asyncio.run(run())


def test_one_works_one_waits_and_a_newer_one_takes_its_place():
    async def test(turn, start):
        tasks = [start() for _ in range(5)]
        await settled()
        assert [t.done() for t in tasks] == [False, True, True, True, False]
        turn.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(r) for r in (results[0], results[-1])] == ["done", "done"]
        assert all(isinstance(r, SupersededError) for r in results[1:-1])

    with_turn(test)


def test_the_newest_is_who_was_taken_last_and_not_who_comes_last():
    async def test(turn, queue):
        tasks = []
        for taken in (2, 3, 1, 3):
            tasks.append(queue(taken))
            await settled()
        assert [t.done() for t in tasks] == [False, False, True, True]
        turn.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == ["done", "done"]
        assert all(isinstance(r, SupersededError) for r in results[2:])

    with_turn(test)


def test_who_has_not_begun_gives_way_to_a_newer_one_and_to_no_older_one():
    async def test(turn, queue):
        turn.start.clear()
        tasks = []
        for taken in (2, 1, 3):
            tasks.append(queue(taken))
            await settled()
        assert [t.done() for t in tasks] == [True, True, False]
        turn.start.set()
        turn.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, SupersededError) for r in results[:2])
        assert results[2] == "done"

    with_turn(test)


def test_who_begins_at_the_moment_a_newer_one_comes_is_done_and_the_newer_one_after_it():
    async def test(turn, queue):
        turn.start.clear()
        first = queue()
        await settled()
        second = queue()
        turn.start.set()
        turn.gate.set()
        assert await asyncio.gather(first, second) == ["done", "done"]

    with_turn(test)


def test_a_timeout_of_the_work_is_no_newer_picture():
    async def run() -> None:
        turn = NewestTurn()
        with pytest.raises(TimeoutError):
            async with turn.hold(1.0), asyncio.timeout(0.01):
                await asyncio.sleep(1)
        assert not turn.held

    asyncio.run(run())


@pytest.mark.parametrize("cancelled", [0, 1], ids=["who works", "who waits"])
def test_who_is_cancelled_leaves_the_turn_to_others(cancelled: int):
    async def test(turn, start):
        tasks = [start(), start()]
        await settled()
        tasks[cancelled].cancel()
        await settled()
        tasks.append(start())
        turn.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[cancelled], asyncio.CancelledError)
        assert results[2] == "done"

    with_turn(test)


def test_cancelled_at_the_moment_of_its_turn_it_passes_the_turn_on():
    async def test(turn, start):
        tasks = [start(), start()]
        await settled()
        turn.gate.set()
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await start() == "done"

    with_turn(test)


def test_an_item_is_replaced_by_a_newer_one_and_taken_once():
    async def run() -> None:
        room: NewestItem[str] = NewestItem()
        assert room.put("old") is None
        assert room.put("new") == "old"
        await asyncio.wait_for(room.wait(), 1)
        assert room.take() == "new"
        assert room.take() is None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(room.wait(), 0.01)

    asyncio.run(run())
