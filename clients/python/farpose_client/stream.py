"""A camera over `WS /stream`, for code without asyncio."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Self, Unpack, overload

from websockets.exceptions import ConcurrencyError, ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

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


class Stream:
    """One camera: pictures in, replies out, the newest picture first.

    `Client.stream` makes it; `with` connects and hangs up. One thread may send while another
    receives. A service that is slower than the camera drops pictures: replies say how many.
    """

    def __init__(self, handshake: Handshake, book: StreamBook, query: dict[str, str]) -> None:
        self._handshake = handshake
        self._book = book
        self._query = query
        self._socket: ClientConnection | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        """Held to send, and to connect anew."""

        self._read_ahead: deque[StreamReply | FarposeError] = deque()
        """What a connection that ended still had to say."""

    def __enter__(self) -> Self:
        with self._lock:
            self._open(None)
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; whoever waits for a reply gets `ConnectionFailedError`."""
        self._closed.set()
        if self._socket is not None:
            self._socket.close()

    def send(
        self,
        picture: Picture,
        *,
        timestamp: float | None = None,
        channels: Channels = "RGB",
        quality: int | None = None,
    ) -> int:
        """Send the camera's next picture; see `AsyncStream.send`.

        Returns:
            Its number, which its reply has as `frame`; the first is 0.
        """
        content = encoded(picture, channels, quality)
        with self._lock:
            socket = self._current()
            sent = self._book.sent(content, timestamp)
            try:
                self._transmit(socket, sent)
            except ConnectionClosed as closed:
                self._reopen(socket, closed, None)
        return sent.number

    def change(self, **options: Unpack[StreamOptions]) -> None:
        """Change options for all later pictures; see `AsyncStream.change`."""
        changed = query_of(options, StreamOptions)
        with self._lock:
            socket = self._current()
            self._query = {**self._query, **changed}
            try:
                socket.send(json.dumps(changed))
            except ConnectionClosed as closed:
                self._reopen(socket, closed, None)

    def receive(self, timeout: float | None = None) -> StreamReply:
        """The next reply, or what is wrong with a picture; see `AsyncStream.receive`.

        Args:
            timeout: seconds to wait; for ever if not given.

        Raises:
            DeadlineExceededError: none came in time; or the service took too long for the picture.
            FarposeError: as there.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            said = self._next(end)
        except TimeoutError as error:
            if isinstance(error, FarposeError):
                raise
            raise DeadlineExceededError(f"No reply within {timeout} s") from None
        if isinstance(said, FarposeError):
            raise said
        return said

    def __iter__(self) -> Iterator[StreamReply]:
        return self.replies()

    @overload
    def replies(self, errors: Literal["raise"] = "raise") -> Iterator[StreamReply]: ...

    @overload
    def replies(self, errors: Literal["yield"]) -> Iterator[StreamReply | FarposeError]: ...

    def replies(
        self, errors: Literal["raise", "yield"] = "raise"
    ) -> Iterator[StreamReply | FarposeError]:
        """The replies, until the stream is closed on this side; see `AsyncStream.replies`."""
        while not self._closed.is_set():
            try:
                said = self._next(None)
            except FarposeError:
                if self._closed.is_set():
                    return
                raise
            if isinstance(said, FarposeError) and (errors == "raise" or said.frame is None):
                raise said
            yield said

    def _next(self, end: float | None) -> StreamReply | FarposeError:
        while True:
            if self._read_ahead:
                return self._read_ahead.popleft()
            socket, connection = self._current(), self._book.connection
            try:
                text = socket.recv(_left(end))
            except ConnectionClosed as closed:
                with self._held(end):
                    if socket is self._socket:
                        self._reopen(socket, closed, end)
                continue
            said = self._book.read(text, connection)
            if said is not None:
                return said

    @contextmanager
    def _held(self, end: float | None) -> Iterator[None]:
        left = _left(end)
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise TimeoutError
        try:
            yield
        finally:
            self._lock.release()

    def _current(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("enter the stream first: with client.stream() as stream")
        if self._closed.is_set():
            raise ConnectionFailedError("The stream is closed")
        return self._socket

    def _reopen(
        self, socket: ClientConnection, closed: ConnectionClosed, end: float | None
    ) -> None:
        """Connect anew after a connection ended, with the lock held; raise why it ended if not."""
        self._read_rest(socket)
        error = self._book.ended(closed)
        if not self._closed.is_set():
            pause = self._book.pause(error)
            if error.frame is not None:
                self._read_ahead.append(error)  # in the place of this picture's reply
            self._rest(pause, end)
        self._open(end, socket)

    def _open(self, end: float | None, old: ClientConnection | None = None) -> None:
        while not self._closed.is_set():
            try:
                address = self._handshake.address(self._query)
                # Entered, as what connect() returns depends on the version of websockets.
                socket = connect(address, **self._handshake.settings(_left(end))).__enter__()
                self._read_rest(old)
                if (again := self._book.opened()) is not None:
                    self._transmit(socket, again)
            except (OSError, WebSocketException) as error:
                known = self._book.not_opened(error)
                try:
                    pause = self._book.pause(known)
                except FarposeError:
                    raise known from error
                if known.frame is not None:
                    self._read_ahead.append(known)
                self._rest(pause, end)
                continue
            self._socket = socket
            break
        if self._closed.is_set():
            self.close()
            raise ConnectionFailedError("The stream is closed")

    def _rest(self, pause: float, end: float | None) -> None:
        """Wait, but not when the stream is closed, and not beyond the end of a wait."""
        left = _left(end)
        self._closed.wait(pause if left is None else min(pause, left))
        if left is not None and left <= pause:
            raise TimeoutError

    def _read_rest(self, socket: ClientConnection | None) -> None:
        """Keep what a closed connection has said and nobody has read."""
        if socket is None:
            return
        with suppress(ConnectionClosed, ConcurrencyError):  # another thread reads it already
            while True:
                said = self._book.read(socket.recv(), self._book.connection)
                if said is not None:
                    self._read_ahead.append(said)

    def _transmit(self, socket: ClientConnection, picture: Sent) -> None:
        if picture.timestamp is not None:
            socket.send(json.dumps({"timestamp": picture.timestamp}))
        self._book.goes_out(picture)
        socket.send(picture.content)


def _left(end: float | None) -> float | None:
    """Seconds until then, at least 0."""
    return None if end is None else max(0.0, end - time.monotonic())
