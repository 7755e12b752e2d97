"""What can go wrong, one exception for each way to deal with it."""

from __future__ import annotations

from typing import Final

import msgspec

PROBLEM_TYPE: Final = "application/problem+json"

_URN: Final = "urn:farpose:problem:"


class Problem(msgspec.Struct, frozen=True):
    """What a service says of an error: RFC 9457 problem details."""

    type: str = "about:blank"
    """URI of the sort of problem."""

    title: str = ""
    """The sort of problem, in words."""

    status: int = 0
    """The HTTP status."""

    detail: str = ""
    """What is wrong with this request and what to do about it."""

    id: str | None = None
    """The request's id; the service's log has it."""

    frame: int | None = None
    """Number of the picture, in a stream."""


class FarposeError(Exception):
    """Base of everything that this package raises on its own, wrong arguments apart."""

    retryable = False
    """Whether the same call may succeed a little later."""

    def __init__(
        self,
        message: str,
        *,
        problem: Problem | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = problem
        """What the service said; None where the error arose on this side."""

        self.retry_after = retry_after
        """Seconds after which the service wants to be asked again."""

        self.frame: int | None = None
        """Number of the picture among those sent, if the error is about one of a stream."""

    @property
    def status(self) -> int | None:
        """The HTTP status, if the service answered."""
        return None if self.problem is None else self.problem.status

    @property
    def title(self) -> str | None:
        """The sort of problem, in the service's words."""
        return None if self.problem is None else self.problem.title

    @property
    def detail(self) -> str | None:
        """What is wrong and what to do, in the service's words."""
        return None if self.problem is None else self.problem.detail

    @property
    def type(self) -> str | None:
        """URI of the sort of problem, such as `urn:farpose:problem:unreadable-image`."""
        return None if self.problem is None else self.problem.type

    @property
    def request_id(self) -> str | None:
        """Under which the service's log has the request."""
        return None if self.problem is None else self.problem.id


class BadImageError(FarposeError):
    """The picture cannot be read, or is of a kind that is not taken (400, 415)."""


class UnreadableFileError(BadImageError, OSError):
    """The picture's file is not there or cannot be read."""


class TooLargeError(FarposeError):
    """The picture has too many bytes or pixels, or the address is too long (413, 431)."""


class InvalidOptionsError(FarposeError):
    """An option is not there, not allowed, or does not go with another one (422)."""


class UnauthorizedError(FarposeError):
    """The API key is missing, wrong or no longer valid (401, 403)."""


class StaleFrameError(FarposeError):
    """A newer picture of the camera came first: send the next one (409)."""


class UnsupportedError(FarposeError):
    """This service cannot do that, as it is set up: it says why (501, 409)."""


class OverloadedError(FarposeError):
    """The service has too much to do (503)."""

    retryable = True


class RateLimitedError(OverloadedError):
    """The caller sends more pictures than his key or address allows (429)."""


class ServiceUnavailableError(FarposeError):
    """The service, or what it needs, is not ready or away (502, 503)."""

    retryable = True


class ServiceFailedError(FarposeError):
    """A fault of the service: its log has more under `request_id` (500)."""


class DeadlineExceededError(FarposeError, TimeoutError):
    """No answer within the time: the caller's, or the service's own (504)."""

    retryable = True


class ConnectionFailedError(FarposeError, ConnectionError):
    """The service cannot be reached, or hung up."""

    retryable = True


class UnexpectedAnswerError(FarposeError):
    """What answers is no Farpose service, or one of a version that does not fit."""


class MissingPackageError(FarposeError, ImportError):
    """An optional package is needed and not installed: the message names it."""


_BY_NAME: Final[dict[str, type[FarposeError]]] = {
    "unreadable-image": BadImageError,
    "unsupported-type": BadImageError,
    "superseded": StaleFrameError,
    "stale-frame": StaleFrameError,
    "one-worker": UnsupportedError,
    "no-tracking": UnsupportedError,
    "overloaded": OverloadedError,
}

_BY_STATUS: Final[dict[int, type[FarposeError]]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    413: TooLargeError,
    415: BadImageError,
    422: InvalidOptionsError,
    429: RateLimitedError,
    431: TooLargeError,
    500: ServiceFailedError,
    501: UnsupportedError,
    502: ServiceUnavailableError,
    503: ServiceUnavailableError,
    504: DeadlineExceededError,
}


def error_of(problem: Problem, retry_after: float | None = None) -> FarposeError:
    """The exception that stands for a problem.

    Its type is looked at first, then its status: newer services may know more types.
    """
    kind = _BY_NAME.get(problem.type.removeprefix(_URN)) or _BY_STATUS.get(problem.status)
    if kind is None:
        kind = ServiceFailedError if problem.status >= 500 else UnexpectedAnswerError
    said = problem.detail or problem.title or "The service refused the request."
    request = f", request {problem.id}" if problem.id else ""
    return kind(f"{said} [{problem.status}{request}]", problem=problem, retry_after=retry_after)
