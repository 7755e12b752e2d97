"""Inputs handed to a Triton server on the same machine in shared memory instead of over gRPC."""

from __future__ import annotations

import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

SMALLEST: Final = 1 << 16
"""Bytes; a smaller input is sent as it is."""

MOST_REGIONS: Final = 64
"""Further inputs are sent as they are."""

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

    A region is used for one request at a time, and never again after a request that was given up:
    the server may still read it.

    Args:
        client: connected to a server on this machine.
    """

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        self._regions: list[Region] = []
        self._free: dict[int, list[Region]] = defaultdict(list)
        self._server = 0

    async def put(self, tensor: InferInput, array: NDArray[Any]) -> Region | None:
        """Place an input in shared memory; None if it is better sent as it is.

        Raises:
            InferenceServerException: the server does not take the region: it is on another machine,
                or does not answer.
        """
        if array.nbytes < SMALLEST or array.dtype == object:
            return None
        region = self._take(1 << (array.nbytes - 1).bit_length())
        if region is None:
            return None
        if region.registered != self._server:
            await self._client.register_system_shared_memory(
                region.name, f"/{region.memory.name}", region.memory.size
            )
            region.registered = self._server
        np.ndarray(array.shape, array.dtype, region.memory.buf)[...] = array
        tensor.set_shared_memory(region.name, array.nbytes)
        return region

    def give_back(self, region: Region) -> None:
        """The server has answered the request."""
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

    def _take(self, size: int) -> Region | None:
        if self._free[size]:
            return self._free[size].pop()
        if len(self._regions) == MOST_REGIONS:
            return None
        memory = SharedMemory(create=True, size=size)
        region = Region(f"farpose-{uuid.uuid4().hex}", memory)
        self._regions.append(region)
        return region
