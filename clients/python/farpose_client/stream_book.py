"""What a stream knows of its pictures and connections. No input or output."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import httpx2
import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from farpose_client.backoff import NO_RETRIES, Backoff
from farpose_client.call import answered
from farpose_client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
    Problem,
    TooLargeError,
    UnexpectedAnswerError,
    error_of,
)
from farpose_client.results import StreamReply, parsed, reply_of

FOR_EVER = Backoff(attempts=None, first=0.25, most=10.0)
"""How a stream connects anew unless told otherwise."""

REFUSED, TOO_BIG, TOO_BUSY = 1008, 1009, 1013
"""Closing codes of a service that says before why, of one that was sent too much, and of one that
may take the stream later."""


def reconnecting(reconnect: bool | Backoff) -> Backoff:
    """How often a stream connects before it gives up."""
    if isinstance(reconnect, Backoff):
        return reconnect
    return FOR_EVER if reconnect else NO_RETRIES


@dataclass(frozen=True)
class Sent:
    """A picture of a stream."""

    number: int
    content: bytes
    timestamp: float | None


class _Shape(msgspec.Struct, frozen=True):
    """Enough of a message to tell what it is."""

    people: msgspec.Raw = msgspec.Raw()


class StreamBook:
    """Numbers pictures over all connections of a stream, and reads what comes back.

    It keeps the bytes of one picture: the newest that has no reply yet, which is sent again when
    the stream connects anew.
    """

    def __init__(self, url: str, backoff: Backoff) -> None:
        self._url = url
        self._backoff = backoff
        self._guard = threading.Lock()
        """One thread may send while another receives."""

        self._count = 0
        self._newest: Sent | None = None
        self._again: Sent | None = None
        """The picture that was sent once more."""

        self._on_wire: deque[int] = deque()
        """Numbers of the pictures of this connection that have no reply yet."""

        self._first_index = 0
        """The service's number of the first of those."""

        self._lost = 0
        self._connections = 0
        self._tried = 0
        self._since = 0.0
        """When the connection was made, by the monotonic clock."""

        self._refusal: FarposeError | None = None
        """A problem that was about no picture: the last one of a stream that is refused."""

    @property
    def reconnects(self) -> bool:
        """Whether a lost connection is followed by another one."""
        return not self._backoff.gives_up(1)

    @property
    def connection(self) -> int:
        """How many connections there have been."""
        return self._connections

    def sent(self, content: bytes, timestamp: float | None) -> Sent:
        """Number a picture that is about to be sent."""
        with self._guard:
            sent = self._newest = Sent(self._count, content, timestamp)
            self._count += 1
        return sent

    def goes_out(self, picture: Sent) -> None:
        """Note that the connection carries a picture."""
        with self._guard:
            self._on_wire.append(picture.number)

    def opened(self) -> Sent | None:
        """A connection stands; what to send over it first: the newest picture without a reply."""
        with self._guard:
            again = self._again = self._newest
            self._lost += sum(again is None or number != again.number for number in self._on_wire)
            self._on_wire.clear()
            self._first_index = 0
            self._refusal = None
            self._since = time.monotonic()
            self._connections += 1
            return again

    def read(self, text: str | bytes, connection: int) -> StreamReply | FarposeError | None:
        """What a message says: people, or what is wrong; None if it matters no more.

        Args:
            text: the message.
            connection: `connection` when its socket was current.
        """
        content = text.encode() if isinstance(text, str) else text
        with self._guard:
            return self._read(content) if connection == self._connections else None

    def _read(self, content: bytes) -> StreamReply | FarposeError | None:
        try:
            shape = parsed(content, _Shape)
            if bytes(shape.people):
                return self._reply(reply_of(content))
            problem = parsed(content, Problem)
        except UnexpectedAnswerError as unexpected:
            return unexpected
        if not problem.status:
            return UnexpectedAnswerError(f"{self._url} sends what no Farpose service sends")
        error = error_of(problem)
        if problem.frame is not None:
            error.frame = self._settled(problem.frame)
            return error
        self._refusal = error
        return None if error.retryable and self.reconnects else error

    def _reply(self, reply: StreamReply) -> StreamReply:
        self._tried = 0
        lost, self._lost = self._lost, 0
        return msgspec.structs.replace(
            reply,
            frame=self._settled(reply.frame),
            dropped=reply.dropped + lost,
            connection=self._connections - 1,
        )

    def _settled(self, index: int) -> int:
        """The number of the picture that the service counts as `index` on this connection."""
        number = index
        while self._on_wire and self._first_index <= index:
            number = self._on_wire.popleft()
            self._first_index += 1
        if self._newest is not None and self._newest.number <= number:
            self._newest = None
        return number

    def ended(self, closed: ConnectionClosed) -> FarposeError:
        """Why a connection ended; with a `frame`, if a picture is to blame, which is then let go.

        A picture is to blame if it is too large, or if two connections have ended with it.
        """
        code = None if closed.rcvd is None else closed.rcvd.code
        if self._refusal is not None and code in (REFUSED, TOO_BUSY):
            return self._refusal
        reason = "" if closed.rcvd is None or not closed.rcvd.reason else f": {closed.rcvd.reason}"
        said = "hung up" if code is None else f"closed the stream with {code}{reason}"
        if code == REFUSED:
            return UnexpectedAnswerError(f"{self._url} {said}")
        with self._guard:
            newest = self._newest
            if newest is None or not (code == TOO_BIG or newest is self._again):
                return ConnectionFailedError(f"{self._url} {said}")
            self._newest = None
        error: FarposeError = ConnectionFailedError(f"{self._url} {said}, twice with this picture")
        if code == TOO_BIG:
            error = TooLargeError(f"{self._url}: the picture has more bytes than the service takes")
        error.frame = newest.number
        return error

    def pause(self, error: FarposeError) -> float:
        """Seconds to wait before the next connection; raises the error if there is none.

        A connection that has lasted, or brought a reply, makes those before it forgotten.
        """
        if self._since and time.monotonic() - self._since > self._backoff.most:
            self._tried = 0
        self._since = 0.0
        self._tried += 1
        ends_all = not error.retryable and error.frame is None
        if ends_all or self._backoff.gives_up(self._tried):
            error.frame = None  # it is more than this picture's
            raise error
        return self._backoff.pause(self._tried, error.retry_after)

    def not_opened(self, error: Exception) -> FarposeError:
        """Why no connection came to be."""
        match error:
            case FarposeError():
                return error
            case ConnectionClosed():
                return self.ended(error)
            case InvalidStatus():
                return _refused(error, self._url)
            case TimeoutError():
                return DeadlineExceededError(f"{self._url} takes too long to connect to")
            case InvalidMessage() if isinstance(error.__cause__, (EOFError, OSError)):
                return ConnectionFailedError(f"{self._url} hung up before it answered")
            case InvalidHandshake():
                return UnexpectedAnswerError(f"{self._url} does not open a stream ({error})")
            case _:
                return ConnectionFailedError(f"{self._url} cannot be reached ({error})")


def _refused(error: InvalidStatus, url: str) -> FarposeError:
    found = error.response
    response = httpx2.Response(
        found.status_code,
        headers=list(found.headers.raw_items()),
        content=bytes(found.body or b""),
        request=httpx2.Request("GET", f"{url.rstrip('/')}/stream"),
    )
    return answered(response, url)
