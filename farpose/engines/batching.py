"""Dynamic batching: concurrent requests of equal shape become one run."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from farpose.engine import Tensors


@dataclass(frozen=True)
class _Request:
    inputs: Tensors
    size: int
    shapes: tuple[Any, ...]
    answer: asyncio.Future[Tensors]

    @property
    def nbytes(self) -> int:
        """Of all inputs."""
        return sum(array.nbytes for array in self.inputs.values())


class Batcher:
    """Collects requests for one model and runs them together.

    While a batch runs, what arrives waits and becomes the next one; on an idle model the first
    request waits up to `max_delay` for company. Order is kept, and only requests whose shapes
    agree (but for the batch axis) share a run.

    Args:
        run: runs one batch.
        max_size: most items (first axis) in a run; a request never has more.
        preferred_size: enough items to stop waiting.
        max_delay: seconds.
        max_bytes: requests are merged only up to so many bytes of inputs; one may be larger.
    """

    def __init__(
        self,
        run: Callable[[Tensors], Awaitable[Tensors]],
        *,
        max_size: int,
        preferred_size: int,
        max_delay: float,
        max_bytes: float = math.inf,
    ) -> None:
        self._run = run
        self._max_size = max_size
        self._preferred_size = preferred_size
        self._max_delay = max_delay
        self._max_bytes = max_bytes
        self._waiting: deque[_Request] = deque()
        self._arrived: asyncio.Event | None = None
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, inputs: Tensors) -> Tensors:
        """Run `inputs`, alone or with others, and return the outputs that belong to it."""
        shapes = tuple((name, a.shape[1:]) for name, a in sorted(inputs.items()))
        size = len(next(iter(inputs.values())))
        answer: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(inputs, size, shapes, answer))
        if self._worker is None or self._worker.done():
            # The event belongs to the running loop, which may be another one than last time.
            self._arrived = asyncio.Event()
            self._worker = asyncio.create_task(self._work(self._arrived))
        elif self._arrived is not None:
            self._arrived.set()
        return await answer

    async def _work(self, arrived: asyncio.Event) -> None:
        """Run batches until nobody waits."""
        if self._max_delay > 0:
            await self._wait_for_company(arrived)
        while self._waiting:
            batch = self._next_batch()
            if batch:
                await self._answer(batch)

    async def _wait_for_company(self, arrived: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._max_delay):
                while sum(request.size for request in self._waiting) < self._preferred_size:
                    arrived.clear()
                    await arrived.wait()
        except TimeoutError:
            return

    def _next_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        items = nbytes = 0
        while self._waiting:
            request = self._waiting[0]
            if request.answer.done():  # the caller gave up
                self._waiting.popleft()
                continue
            items += request.size
            nbytes += request.nbytes
            if batch and (
                request.shapes != batch[0].shapes
                or items > self._max_size
                or nbytes > self._max_bytes
            ):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[_Request]) -> None:
        try:
            if len(batch) == 1:
                outputs = [await self._run(batch[0].inputs)]
            else:
                merged = {
                    name: np.concatenate([r.inputs[name] for r in batch])
                    for name in batch[0].inputs
                }
                outputs = _split(await self._run(merged), [r.size for r in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait for the answer
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        for request, output in zip(batch, outputs, strict=True):
            if not request.answer.done():
                request.answer.set_result(output)


def _split(outputs: Tensors, sizes: list[int]) -> list[Tensors]:
    ends = np.cumsum(sizes)[:-1]
    columns = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: parts[i] for name, parts in columns.items()} for i in range(len(sizes))]
