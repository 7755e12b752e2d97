"""Inputs handed to a Triton server on the same machine in shared memory instead of over gRPC."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

logger = logging.getLogger(__name__)

SMALLEST: Final = 1 << 16
"""Bytes; a smaller input is sent as it is."""

MOST_REGIONS: Final = 64
"""Further inputs are sent as they are."""

RELEASE_SECONDS: Final = 1.0
"""For the server to let go of a region."""

UNREGISTERED: Final = "Unable to find shared memory region"
"""What a server says that has been restarted since a region was registered."""


@dataclass(eq=False)
class Region:
    """A piece of memory that the server can read."""

    name: str
    memory: SharedMemory
    registered: int = -1
    """With which server, see `SharedInputs.forget`."""


class SharedInputs:
    """Regions of shared memory, used again and again.

    A region is used for one request at a time, and never again after a request that failed or was
    given up: the server may still read it. When there are no others, such a region is taken from
    the server and another one made. Triton refuses that, or puts it off, while it reads the region
    (from release 24.09 on; those before crash).

    Args:
        client: connected to a server on this machine.
    """

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        self._regions: list[Region] = []
        self._free: dict[int, list[Region]] = defaultdict(list)
        self._given_up: deque[Region] = deque()
        self._told = False
        self._server = 0

    @asynccontextmanager
    async def placed(self, tensor: InferInput, array: NDArray[Any]) -> AsyncIterator[bool]:
        """Place an input in shared memory for one request: leave the context with its answer.

        Yields:
            False if it is better sent as it is; the tensor is then untouched.

        Raises:
            InferenceServerException: the server does not take the region: it is on another machine,
                or does not answer.
        """
        region = None
        if array.nbytes >= SMALLEST and array.dtype != object:
            region = await self._take(1 << (array.nbytes - 1).bit_length())
        if region is None:
            yield False
            return
        try:
            if region.registered != self._server:
                await self._client.register_system_shared_memory(
                    region.name, f"/{region.memory.name}", region.memory.size
                )
                region.registered = self._server
            np.ndarray(array.shape, array.dtype, region.memory.buf)[...] = array
            tensor.set_shared_memory(region.name, array.nbytes)
            yield True
        except BaseException:
            self._given_up.append(region)
            raise
        self._free[region.memory.size].append(region)

    def forget(self) -> None:
        """Register all regions anew: it may be another server."""
        self._server += 1

    async def close(self) -> None:
        """Free the memory, here and in the server."""
        for region in self._regions:
            if region.registered == self._server:
                with suppress(InferenceServerException):
                    await self._client.unregister_system_shared_memory(region.name)
            region.memory.close()
            region.memory.unlink()
        self._regions.clear()
        self._free.clear()
        self._given_up.clear()

    async def _take(self, size: int) -> Region | None:
        if self._free[size]:
            return self._free[size].pop()
        if len(self._regions) == MOST_REGIONS:
            await self._release_one()
        if len(self._regions) == MOST_REGIONS:
            return None
        memory = SharedMemory(create=True, size=size)
        region = Region(f"farpose-{uuid.uuid4().hex}", memory)
        self._regions.append(region)
        return region

    async def _release_one(self) -> None:
        """Free the memory of a request that was given up, if the server lets go of it."""
        if not self._given_up:
            return
        self._given_up.rotate(-1)  # another one next time, if the server keeps this
        region = self._given_up[-1]
        try:
            await self._client.unregister_system_shared_memory(
                region.name, client_timeout=RELEASE_SECONDS
            )
        except InferenceServerException as error:
            if not self._told:
                self._told = True
                logger.warning(
                    "inputs go over gRPC, not through shared memory, until the server lets go of "
                    "what requests that were given up have used: %s",
                    error,
                )
            return
        if region in self._given_up:  # no other request has freed it meanwhile
            self._given_up.remove(region)
            self._regions.remove(region)
            region.memory.close()
            region.memory.unlink()
