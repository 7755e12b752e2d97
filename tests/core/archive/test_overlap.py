from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from farpose.archive.overlap import overlapped


async def slow_for_small(number: int) -> int:
    await asyncio.sleep(0.001 * (10 - number % 10))
    return number * number


def test_results_come_in_the_order_of_the_items():
    assert list(overlapped(range(25), slow_for_small)) == [(i, i * i) for i in range(25)]


def test_several_items_are_in_work_at_once_and_no_more_than_allowed():
    working = most = 0
    taken: list[int] = []

    async def count(number: int) -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.005)
        working -= 1
        return number

    def numbers() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    for item, _ in overlapped(numbers(), count, in_flight=4):
        assert len(taken) <= item + 5
    assert most == 4


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more")

    results = overlapped(numbers(), slow_for_small)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_an_error_of_the_work_comes_in_its_place():
    async def fails(number: int) -> int:
        if number == 2:
            raise LookupError("two")
        return await slow_for_small(number)

    results = overlapped(range(9), fails)
    assert [next(results)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(LookupError, match="two"):
        next(results)


def test_whoever_stops_early_ends_the_threads_and_closes_the_items():
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    before = threading.active_count()
    with contextlib.closing(overlapped(numbers(), slow_for_small)) as results:
        assert next(results) == (0, 0)
    assert closed.is_set()
    assert threading.active_count() == before


def test_no_item_in_flight_is_refused():
    with pytest.raises(ValueError, match="in_flight is 0"):
        next(overlapped([1], slow_for_small, in_flight=0))
