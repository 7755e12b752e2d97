"""A link to a server that is as bad as a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Link:
    """Passes bytes between its own port and a server's, as an asynchronous context.

    Args:
        target: port of the server.
        greeting: seconds until the first of the server's bytes passes.
    """

    def __init__(self, target: int, greeting: float = 0.0) -> None:
        self._target, self._greeting = target, greeting
        self._generation = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def vanish(self) -> None:
        """Nothing passes any more over what is connected, and nobody is told; new ones work."""
        self._generation += 1

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source, sink = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(
                self._pump(reader, sink, 0), self._pump(source, writer, self._greeting)
            )
        finally:
            for end in (sink, writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, wait: float
    ) -> None:
        generation = self._generation
        await asyncio.sleep(wait)
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if generation == self._generation:
                    sink.write(data)
                    await sink.drain()
        sink.close()
