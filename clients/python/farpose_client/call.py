"""One call of a service: its tries, its deadline, and what its answer means. No input or output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

import httpx2
import msgspec

from farpose_client.backoff import Backoff, retry_after_of
from farpose_client.errors import (
    PROBLEM_TYPE,
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
    OverloadedError,
    Problem,
    ServiceUnavailableError,
    UnexpectedAnswerError,
    error_of,
)

DEADLINE_HEADER: Final = "X-Deadline-Ms"

LONGEST_DEADLINE_MS: Final = 600_000
"""The most that a service grants."""


class Again(Enum):
    """When a call may be tried again."""

    WHENEVER = "whenever"
    """It changes nothing."""

    UNTOUCHED = "untouched"
    """Only if the service has surely not looked at it."""

    NEVER = "never"


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds."""

    deadline: float | None
    """The whole call, its tries and the pauses between them."""

    timeout: float
    """One try."""

    connect: float
    """Connecting, in one try."""

    def __post_init__(self) -> None:
        for name in ("deadline", "timeout", "connect"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ValueError(f"{name}: seconds above 0, not {seconds}")


@dataclass(frozen=True)
class Request:
    """What is asked."""

    method: str
    path: str
    query: Mapping[str, str]
    content: bytes | None = None
    media_type: str | None = None
    again: Again = Again.WHENEVER


@dataclass(frozen=True)
class Try:
    """One try."""

    headers: dict[str, str]

    seconds: float
    """How long it may take in all."""

    timeout: httpx2.Timeout
    """The same for each step of it."""


class Call:
    """Decides what follows each try.

    Args:
        request: what is asked.
        url: of the service, to name it.
        limits: how long it may take.
        backoff: how often it is tried.
    """

    def __init__(self, request: Request, url: str, limits: Limits, backoff: Backoff) -> None:
        self.request = request
        self._url = url
        self._limits = limits
        self._backoff = backoff
        self._tried = 0
        self._end = None if limits.deadline is None else time.monotonic() + limits.deadline

    def next_try(self) -> Try:
        """The next one; `DeadlineExceededError` if there is no time for it."""
        seconds = self._limits.timeout
        if self._end is not None:
            seconds = min(seconds, self._end - time.monotonic())
            if seconds <= 0:
                raise DeadlineExceededError(f"No answer within {self._limits.deadline:.3g} s")
        self._tried += 1
        milliseconds = min(max(1, int(seconds * 1e3)), LONGEST_DEADLINE_MS)
        headers = {DEADLINE_HEADER: str(milliseconds)}
        if self.request.media_type is not None:
            headers["Content-Type"] = self.request.media_type
        connect = min(seconds, self._limits.connect)
        return Try(headers, seconds, httpx2.Timeout(seconds, connect=connect))

    def accepted(self, response: httpx2.Response) -> httpx2.Response:
        """An answer, if it is a good one; otherwise what it stands for is raised."""
        if response.status_code == 200:
            return response
        raise answered(response, self._url)

    def pause(self, error: Exception) -> float:
        """Seconds to wait before the next try.

        Raises:
            FarposeError: there is none: the reason.
        """
        known = error if isinstance(error, FarposeError) else failed(error, self._url)
        if not known.retryable or not self._may_repeat(error, known):
            raise known from _cause(error, known)
        if self._backoff.gives_up(self._tried):
            raise known from _cause(error, known)
        pause = self._backoff.pause(self._tried, known.retry_after)
        if self._end is not None and time.monotonic() + pause >= self._end:
            raise known from _cause(error, known)
        return pause

    def _may_repeat(self, error: Exception, known: FarposeError) -> bool:
        match self.request.again:
            case Again.WHENEVER:
                return True
            case Again.UNTOUCHED:
                if known.problem is not None:
                    refused = isinstance(known, (OverloadedError, ServiceUnavailableError))
                    return refused and known.problem.type != "about:blank"
                return isinstance(
                    error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
                )
            case Again.NEVER:
                return False


def answered(response: httpx2.Response, url: str) -> FarposeError:
    """What an answer that is not 200 stands for."""
    retry_after = retry_after_of(response.headers)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == PROBLEM_TYPE:
        try:
            problem = msgspec.json.decode(response.content, type=Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            if problem.status == response.status_code not in (404, 405):
                return error_of(problem, retry_after)
    status = response.status_code
    if status in (429, 502, 503, 504):  # of a proxy, while the service starts, say
        said = Problem(status=status, detail=f"{url} answers {status}, without saying why.")
        return error_of(said, retry_after)
    place = response.headers.get("Location")
    if place is not None and 300 <= status < 400:
        return UnexpectedAnswerError(f"{url} sends callers on to {place}: use that address")
    return UnexpectedAnswerError(
        f"{url} answers {status} to {response.request.method} {response.request.url.path}, and not "
        "as a Farpose service does: is the address right, and the service of a version that goes "
        "with this client?"
    )


def failed(error: Exception, url: str) -> FarposeError:
    """What an exception of the HTTP library stands for."""
    reason = str(error) or type(error).__name__
    match error:
        case httpx2.ConnectTimeout():
            return ConnectionFailedError(f"{url} cannot be reached: connecting takes too long")
        case httpx2.TimeoutException() | TimeoutError():
            return DeadlineExceededError(f"{url} did not answer in time")
        case httpx2.ConnectError():
            return ConnectionFailedError(f"{url} cannot be reached ({reason}): is it running?")
        case httpx2.TransportError() | OSError():
            return ConnectionFailedError(f"{url} hung up ({reason})")
        case _:
            return UnexpectedAnswerError(f"{url} answers what cannot be read ({reason})")


def _cause(error: Exception, known: FarposeError) -> BaseException | None:
    return known.__cause__ if error is known else error
