"""The batcher, seen through what it runs and what its callers get."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from farpose.engine import EngineError, Tensors
from farpose.engines.batching import Batcher

DELAY = 0.05
FOREVER = 30.0


@dataclass
class Doubler:
    """A model that doubles `x`, fails on -1, and keeps the size of every run."""

    sizes: list[int] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def run(self, inputs: Tensors) -> Tensors:
        self.sizes.append(len(inputs["x"]))
        if self.hold is not None:
            await self.hold.wait()
        if (inputs["x"] == -1).any():
            raise EngineError("cannot double -1")
        return {"y": inputs["x"] * 2}


def batcher(model: Doubler, *, max_size: int = 8, preferred: int = 8, delay: float = DELAY):
    return Batcher(model.run, max_size=max_size, preferred_size=preferred, max_delay=delay)


def items(*values: float, width: int = 1) -> Tensors:
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, axis=1)}


async def doubled(batches: Batcher, *values: float, width: int = 1) -> list[float]:
    outputs = await batches.submit(items(*values, width=width))
    assert outputs["y"].shape == (len(values), width)
    return outputs["y"][:, 0].tolist()


@pytest.mark.parametrize(
    ("requests", "max_size", "runs"),
    [
        # two that arrive together share a run
        ([[1.0], [2.0]], 8, [2]),
        # requests of several items are split where they were joined
        ([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], 8, [6]),
        # the maximum is respected and no request is torn apart
        ([[1.0, 2.0], [3.0, 4.0], [5.0]], 3, [2, 3]),
        # one that fills the maximum runs alone
        ([[1.0, 2.0, 3.0], [4.0]], 3, [3, 1]),
    ],
)
def test_requests_share_runs_and_get_their_own_answers(
    requests: list[list[float]], max_size: int, runs: list[int]
):
    async def scenario() -> tuple[list[list[float]], list[int]]:
        model = Doubler()
        batches = batcher(model, max_size=max_size)
        answers = await asyncio.gather(*(doubled(batches, *values) for values in requests))
        return answers, model.sizes

    answers, sizes = asyncio.run(scenario())
    assert answers == [[2 * value for value in values] for values in requests]
    assert sizes == runs


def test_different_shapes_do_not_share_a_run():
    async def scenario() -> tuple[list[list[float]], list[int]]:
        model = Doubler()
        batches = batcher(model)
        answers = await asyncio.gather(
            doubled(batches, 1, width=2), doubled(batches, 2, width=3), doubled(batches, 3, width=3)
        )
        return answers, model.sizes

    answers, sizes = asyncio.run(scenario())
    assert answers == [[2], [4], [6]]
    assert sizes == [1, 2]


def test_an_error_reaches_every_waiter_and_nobody_after():
    async def scenario() -> tuple[list[object], list[float]]:
        batches = batcher(Doubler())
        failed = await asyncio.gather(
            doubled(batches, 1), doubled(batches, -1), return_exceptions=True
        )
        return failed, await doubled(batches, 5)

    failed, after = asyncio.run(scenario())
    assert [str(error) for error in failed] == ["cannot double -1"] * 2
    assert all(isinstance(error, EngineError) for error in failed)
    assert after == [10]


@pytest.mark.parametrize("running", [False, True])  # given up while waiting, or while it runs
def test_a_cancelled_waiter_does_not_harm_the_others(running: bool):
    async def scenario() -> tuple[list[float], list[float], list[int]]:
        model = Doubler(hold=asyncio.Event())
        batches = batcher(model)
        kept = asyncio.create_task(doubled(batches, 1))
        given_up = asyncio.create_task(doubled(batches, 2))
        await asyncio.sleep(0)
        while running and not model.sizes:
            await asyncio.sleep(DELAY / 10)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        model.hold.set()
        return await kept, await doubled(batches, 3), model.sizes

    kept, after, sizes = asyncio.run(scenario())
    assert (kept, after) == ([2], [6])
    assert sizes == ([2, 1] if running else [1, 1])


def test_when_all_gave_up_nothing_runs():
    async def scenario() -> list[int]:
        model = Doubler()
        task = asyncio.create_task(doubled(batcher(model), 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(3 * DELAY)
        return model.sizes

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize(("max_bytes", "runs"), [(12, [3, 1]), (8, [2, 2]), (2, [1, 1, 1, 1])])
def test_requests_are_merged_up_to_so_many_bytes(max_bytes: int, runs: list[int]):
    async def scenario() -> list[int]:
        model = Doubler()
        batches = Batcher(
            model.run, max_size=8, preferred_size=8, max_delay=DELAY, max_bytes=max_bytes
        )
        await asyncio.gather(*(doubled(batches, value) for value in range(4)))  # 4 bytes each
        return model.sizes

    assert asyncio.run(scenario()) == runs


def test_the_preferred_size_ends_the_wait():
    async def scenario() -> list[int]:
        model = Doubler()
        batches = batcher(model, preferred=3, delay=FOREVER)
        await asyncio.gather(doubled(batches, 1), doubled(batches, 2, 3))
        return model.sizes

    start = time.monotonic()
    assert asyncio.run(scenario()) == [3]
    assert time.monotonic() - start < FOREVER / 2


def test_no_delay_means_no_wait():
    async def scenario() -> list[float]:
        return await doubled(batcher(Doubler(), preferred=8, delay=0), 4)

    assert asyncio.run(scenario()) == [8]


def test_what_arrives_during_a_run_becomes_the_next_batch():
    async def scenario() -> list[int]:
        model = Doubler(hold=asyncio.Event())
        batches = batcher(model, delay=0)
        first = asyncio.create_task(doubled(batches, 1))
        while not model.sizes:
            await asyncio.sleep(0)
        later = [asyncio.create_task(doubled(batches, value)) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        model.hold.set()
        assert await asyncio.gather(first, *later) == [[2], [4], [6], [8]]
        return model.sizes

    assert asyncio.run(scenario()) == [1, 3]
