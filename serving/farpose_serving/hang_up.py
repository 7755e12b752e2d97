"""How connections of cameras end for good, and what the server may log of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CLOSE_SECONDS: Final = 10.0

LOGGER: Final = "uvicorn.error.websockets"


class AbortingWebSockets(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets, but a peer that does not read cannot keep a finished connection.

    A transport that is closed first sends what it has buffered, for ever if nobody takes it.
    Its warnings and errors are logged, but not its line for each handshake, which has the whole
    query in it and whatever secret a caller put there.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.logger = self.conn.logger = logging.getLogger(LOGGER)
        self.logger.setLevel(logging.WARNING)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Wait a while for the peer to close, then drop what it has not taken."""
        super().on_task_complete(task)
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
