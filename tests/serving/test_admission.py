"""A bounded number of pictures at once, in order; a bounded number of requests that wait."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from farpose_serving.admission import Admission
from farpose_serving.problems import ProblemError


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_turns_come_in_order_and_no_more_run_than_allowed():
    async def run() -> None:
        admission, order, most = Admission(2, 10), [], 0

        async def work(i: int) -> None:
            nonlocal most
            async with admission.turn():
                order.append(i)
                most = max(most, admission.running)
                await asyncio.sleep(0.001)

        await asyncio.gather(*map(work, range(9)))
        assert order == list(range(9))
        assert most == 2
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(run())


def test_who_was_served_longest_ago_is_next():
    async def run() -> None:
        admission, order = Admission(1, 10), []

        async def work(name: str, since: float) -> None:
            async with admission.turn(since):
                order.append(name)
                await asyncio.sleep(0.001)

        names = {"first": 9.0, "served just now": 8.0, "long ago": 1.0, "a while ago": 5.0}
        await asyncio.gather(*(work(*sender) for sender in names.items()))
        assert order == ["first", "long ago", "a while ago", "served just now"]

    asyncio.run(run())


def test_a_camera_that_always_has_a_picture_takes_no_turn_from_the_others():
    async def run() -> None:
        admission, waited = Admission(2, 10), []
        end = time.monotonic() + 2.0

        async def flood() -> None:
            served = time.monotonic()
            while time.monotonic() < end:
                async with admission.turn(served):
                    await asyncio.sleep(0.01)
                served = time.monotonic()

        async def now_and_then() -> None:
            served = time.monotonic()
            while time.monotonic() < end:
                await asyncio.sleep(0.5)  # longer than a round of the others
                start = time.monotonic()
                async with admission.turn(served):
                    waited.append(time.monotonic() - start)
                    await asyncio.sleep(0.01)
                served = time.monotonic()

        await asyncio.gather(now_and_then(), *(flood() for _ in range(30)))
        # By arrival thirty pictures of 10 ms would be before it, two at a time: 150 ms.
        assert np.median(waited) < 0.05

    asyncio.run(run())


def test_a_place_more_than_there_is_room_for_is_refused_with_when_to_come_again():
    admission = Admission(1, 2)
    with admission.place(), admission.place(), admission.place():
        with pytest.raises(ProblemError, match="try again") as refused, admission.place():
            pass
        assert refused.value.kind.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
    with admission.place():
        assert admission.places == 1


def test_who_would_wait_in_vain_is_refused_at_once():
    async def run() -> None:
        admission = Admission(2, 10)
        with admission.place(1e-9):
            pass  # nothing is known of the time of a picture, and nobody is ahead

        async def work() -> None:
            with admission.place():
                async with admission.turn():
                    await asyncio.sleep(0.1)

        await work()
        tasks = [asyncio.create_task(work()) for _ in range(5)]
        await settled()
        # Five are ahead, two at a time, each 0.1 s: the answer would come after 0.3 s.
        with admission.place(0.6), admission.place():
            pass
        ahead = pytest.raises(ProblemError, match="5 pictures are ahead")
        with ahead as refused, admission.place(0.3):
            pass
        assert refused.value.kind.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
        await asyncio.gather(*tasks)
        with admission.place(0.001):
            pass  # nobody is ahead: it may be faster than the others were

    asyncio.run(run())


def test_who_gives_up_waiting_holds_nothing():
    async def run() -> None:
        admission = Admission(1, 10)

        async def work() -> None:
            async with admission.turn():
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work()) for _ in range(4)]
        await settled()
        assert (admission.running, admission.waiting) == (1, 3)
        tasks[0].cancel()  # at work
        tasks[1].cancel()  # next
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[3].cancelled()
        assert (admission.running, admission.waiting) == (0, 0)
        await asyncio.wait_for(work(), 1)

    asyncio.run(run())
