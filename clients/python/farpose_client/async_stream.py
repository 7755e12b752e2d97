"""A camera over `WS /stream`, for asyncio."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal, Self, Unpack, overload

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConcurrencyError, ConnectionClosed, WebSocketException

from farpose_client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
)
from farpose_client.handshake import Handshake
from farpose_client.options import StreamOptions, query_of
from farpose_client.pictures import Channels, Picture, encoded
from farpose_client.results import StreamReply
from farpose_client.stream_book import Sent, StreamBook


class AsyncStream:
    """One camera: pictures in, replies out, the newest picture first.

    `AsyncClient.stream` makes it; `async with` connects and hangs up. One task may send while
    another receives. A service that is slower than the camera drops pictures: replies say how many.
    """

    def __init__(self, handshake: Handshake, book: StreamBook, query: dict[str, str]) -> None:
        self._handshake = handshake
        self._book = book
        self._query = query
        self._socket: ClientConnection | None = None
        self._closed = asyncio.Event()
        self._lock = asyncio.Lock()
        """Held to send, and to connect anew."""

        self._read_ahead: deque[StreamReply | FarposeError] = deque()
        """What a connection that ended still had to say."""

    async def __aenter__(self) -> Self:
        async with self._lock:
            await self._open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; whoever waits for a reply gets `ConnectionFailedError`."""
        self._closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def send(
        self,
        picture: Picture,
        *,
        timestamp: float | None = None,
        channels: Channels = "RGB",
        quality: int | None = None,
    ) -> int:
        """Send the camera's next picture.

        Args:
            picture: a path, bytes of a file, a NumPy array or a PIL image.
            timestamp: seconds at which it was taken, by any clock that goes with the camera; the
                arrival if not given. Give it with every picture or with none.
            channels: order of an array's colours.
            quality: send arrays and PIL images as JPEG of that quality, and not as PNG.

        Returns:
            Its number, which its reply has as `frame`; the first is 0.

        Raises:
            ConnectionFailedError: the connection is lost and, with `reconnect`, cannot be had back.
            FarposeError: the service has refused the stream.
            BadImageError: an array or image that is no picture.
            UnreadableFileError: the file cannot be read.
        """
        if isinstance(picture, bytes):
            content = picture
        else:
            content = await asyncio.to_thread(encoded, picture, channels, quality)
        async with self._lock:
            socket = self._current()
            sent = self._book.sent(content, timestamp)
            try:
                await self._transmit(socket, sent)
            except ConnectionClosed as closed:
                await self._reopen(socket, closed)
        return sent.number

    async def change(self, **options: Unpack[StreamOptions]) -> None:
        """Change options for all later pictures; a value that is not allowed is told by `receive`.

        Raises:
            InvalidOptionsError: there is no such option.
            FarposeError: as `send` has it.
        """
        changed = query_of(options, StreamOptions)
        async with self._lock:
            socket = self._current()
            self._query = {**self._query, **changed}
            try:
                await socket.send(json.dumps(changed))
            except ConnectionClosed as closed:
                await self._reopen(socket, closed)

    async def receive(self, timeout: float | None = None) -> StreamReply:
        """The next reply.

        What is wrong with one picture is raised too, with its number in `frame`; the stream goes
        on, and the next call has the next reply.

        Args:
            timeout: seconds to wait; for ever if not given.

        Raises:
            DeadlineExceededError: none came in time; or the service took too long for the picture.
            BadImageError, TooLargeError, OverloadedError, ...: the service refused the picture.
            ConnectionFailedError: the connection is lost and, with `reconnect`, cannot be had back.
            UnauthorizedError, InvalidOptionsError, UnsupportedError, ...: it refused the stream.
            UnexpectedAnswerError: this is no Farpose service.
        """
        try:
            async with asyncio.timeout(timeout):
                said = await self._next()
        except TimeoutError as error:
            if isinstance(error, FarposeError):
                raise
            raise DeadlineExceededError(f"No reply within {timeout} s") from None
        if isinstance(said, FarposeError):
            raise said
        return said

    def __aiter__(self) -> AsyncIterator[StreamReply]:
        return self.replies()

    @overload
    def replies(self, errors: Literal["raise"] = "raise") -> AsyncIterator[StreamReply]: ...

    @overload
    def replies(self, errors: Literal["yield"]) -> AsyncIterator[StreamReply | FarposeError]: ...

    async def replies(
        self, errors: Literal["raise", "yield"] = "raise"
    ) -> AsyncIterator[StreamReply | FarposeError]:
        """The replies, until the stream is closed on this side.

        Args:
            errors: `raise` what is wrong with a picture, which ends the loop but not the stream, or
                `yield` it in the place of its reply. What ends the stream is raised either way.
        """
        while not self._closed.is_set():
            try:
                said = await self._next()
            except FarposeError:
                if self._closed.is_set():
                    return
                raise
            if isinstance(said, FarposeError) and (errors == "raise" or said.frame is None):
                raise said
            yield said

    async def _next(self) -> StreamReply | FarposeError:
        while True:
            if self._read_ahead:
                return self._read_ahead.popleft()
            socket, connection = self._current(), self._book.connection
            try:
                text = await socket.recv()
            except ConnectionClosed as closed:
                async with self._lock:
                    if socket is self._socket:
                        await self._reopen(socket, closed)
                continue
            said = self._book.read(text, connection)
            if said is not None:
                return said

    def _current(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("enter the stream first: async with client.stream() as stream")
        if self._closed.is_set():
            raise ConnectionFailedError("The stream is closed")
        return self._socket

    async def _reopen(self, socket: ClientConnection, closed: ConnectionClosed) -> None:
        """Connect anew after a connection ended, with the lock held; raise why it ended if not."""
        await self._read_rest(socket)
        error = self._book.ended(closed)
        if not self._closed.is_set():
            pause = self._book.pause(error)
            if error.frame is not None:
                self._read_ahead.append(error)  # in the place of this picture's reply
            await self._rest(pause)
        await self._open(socket)

    async def _open(self, old: ClientConnection | None = None) -> None:
        while not self._closed.is_set():
            try:
                address = self._handshake.address(self._query)
                socket = await connect(address, **self._handshake.settings())
                try:
                    await self._read_rest(old)
                    if (again := self._book.opened()) is not None:
                        await self._transmit(socket, again)
                except asyncio.CancelledError:
                    socket.transport.abort()  # nobody has it yet
                    raise
            except (OSError, WebSocketException) as error:
                known = self._book.not_opened(error)
                try:
                    pause = self._book.pause(known)
                except FarposeError:
                    raise known from error
                if known.frame is not None:
                    self._read_ahead.append(known)
                await self._rest(pause)
                continue
            self._socket = socket
            break
        if self._closed.is_set():
            await self.close()
            raise ConnectionFailedError("The stream is closed")

    async def _rest(self, pause: float) -> None:
        """Wait, but not when the stream is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._closed.wait()

    async def _read_rest(self, socket: ClientConnection | None) -> None:
        """Keep what a closed connection has said and nobody has read."""
        if socket is None:
            return
        with suppress(ConnectionClosed, ConcurrencyError):  # another task reads it already
            while True:
                said = self._book.read(await socket.recv(), self._book.connection)
                if said is not None:
                    self._read_ahead.append(said)

    async def _transmit(self, socket: ClientConnection, picture: Sent) -> None:
        if picture.timestamp is not None:
            await socket.send(json.dumps({"timestamp": picture.timestamp}))
        self._book.goes_out(picture)
        await socket.send(picture.content)
