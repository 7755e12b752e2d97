"""Errors as callers see them: RFC 9457 problem details, for whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from farpose.engine import (
    EngineOverloadedError,
    EngineTimeoutError,
    EngineUnavailableError,
    UnknownModelError,
)
from farpose.geometry import BoxError
from farpose.images import ImageError, ImageFormatError, ImageTooLargeError
from farpose.remote_pipeline import OptionsError
from farpose.tracking import StaleFrameError, TrackingUnavailableError
from farpose_serving.cameras.newest import SupersededError
from farpose_serving.cameras.registry import ClockError, TooManyCamerasError
from farpose_serving.request_ids import request_id

PROBLEM_TYPE: Final = "application/problem+json"

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A sort of problem, with the URI that programs recognise it by."""

    status: int
    name: str
    title: str

    @property
    def uri(self) -> str:
        """The problem's `type`."""
        return f"urn:farpose:problem:{self.name}" if self.name else "about:blank"


UNREADABLE_IMAGE: Final = Kind(400, "unreadable-image", "The picture cannot be read")
UNAUTHORIZED: Final = Kind(401, "unauthorized", "The API key is missing or wrong")
FOREIGN_ORIGIN: Final = Kind(403, "foreign-origin", "Pages of this origin may not call the service")
INCOMPLETE_BODY: Final = Kind(400, "incomplete-body", "The request body is incomplete")
NO_HTTP: Final = Kind(400, "no-http", "The request is not HTTP")
TOO_LARGE: Final = Kind(413, "too-large", "The request is too large")
UNSUPPORTED_TYPE: Final = Kind(415, "unsupported-type", "The type is not supported")
SUPERSEDED: Final = Kind(409, "superseded", "A newer picture of the camera has come")
STALE_FRAME: Final = Kind(409, "stale-frame", "A newer picture of the camera was answered")
ONE_WORKER: Final = Kind(409, "one-worker", "The camera's pictures meet different processes")
INVALID_REQUEST: Final = Kind(422, "invalid-request", "The request is not valid")
TOO_MANY: Final = Kind(429, "too-many-pictures", "The caller sends too many pictures")
HEADERS_TOO_LARGE: Final = Kind(431, "headers-too-large", "The request's headers are too large")
INTERNAL: Final = Kind(500, "internal", "The service failed")
NO_TRACKING: Final = Kind(501, "no-tracking", "The service cannot follow people")
NOT_READY: Final = Kind(503, "not-ready", "The service is not ready")
OVERLOADED: Final = Kind(503, "overloaded", "The service has too much to do")
DEADLINE: Final = Kind(504, "deadline", "The answer did not come in time")

RETRY: Final = {"Retry-After": "1"}


class ProblemDetails(BaseModel):
    """The body of every error."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """URI of the sort of problem; `about:blank` where the status says it all."""

    title: str
    """The sort of problem, in words."""

    status: int
    """The HTTP status."""

    detail: str
    """What is wrong with this request and what to do about it."""

    id: str
    """The request's id, as in the header `X-Request-ID`."""

    @classmethod
    def of(cls, problem: ProblemError, identifier: str) -> ProblemDetails:
        """The body of a problem."""
        return cls(
            type=problem.kind.uri,
            title=problem.kind.title,
            status=problem.kind.status,
            detail=problem.detail,
            id=identifier,
        )


class ProblemError(Exception):
    """A problem to answer with.

    Args:
        kind: the sort of problem.
        detail: a sentence that says what is wrong and what to do.
        headers: more headers of the answer.
    """

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers


def validation_detail(error: ValidationError) -> str:
    """All complaints of pydantic in one sentence, without repeating what was sent."""
    complaints = []
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        complaints.append(f"{place}: {message}" if place else message)
    return "; ".join(complaints)


def describe(error: Exception) -> ProblemError:
    """The problem that an exception stands for."""
    match error:
        case ProblemError():
            return error
        case ImageTooLargeError():
            return ProblemError(TOO_LARGE, _sentence(error, "send a smaller picture"))
        case ImageFormatError():
            return ProblemError(UNSUPPORTED_TYPE, _sentence(error))
        case ImageError():
            whole = "send one whole JPEG, PNG or WebP picture"
            return ProblemError(UNREADABLE_IMAGE, _sentence(error, whole))
        case BoxError() | OptionsError() | ClockError():
            return ProblemError(INVALID_REQUEST, _sentence(error))
        case SupersededError():
            detail = "A newer picture of the camera took the place of this one."
            return ProblemError(SUPERSEDED, detail)
        case StaleFrameError():
            return ProblemError(STALE_FRAME, _sentence(error))
        case TooManyCamerasError():
            return ProblemError(OVERLOADED, _sentence(error, "try again a little later"), RETRY)
        case TrackingUnavailableError():
            return ProblemError(NO_TRACKING, _sentence(error))
        case EngineOverloadedError():
            detail = "Too many pictures wait before the models: try again a little later."
            return ProblemError(OVERLOADED, detail, RETRY)
        case EngineUnavailableError() | UnknownModelError():
            detail = "The models do not answer at the moment: try again a little later."
            return ProblemError(NOT_READY, detail, RETRY)
        case EngineTimeoutError() | TimeoutError():
            detail = "The people were not found within the deadline: try again a little later."
            return ProblemError(DEADLINE, detail, RETRY)
        case ClientDisconnect():
            return ProblemError(INCOMPLETE_BODY, "The connection ended early: send it again.")
        case HTTPException():
            kind = Kind(error.status_code, "", HTTPStatus(error.status_code).phrase)
            return ProblemError(kind, _http_detail(error), error.headers)
        case _:
            return ProblemError(
                INTERNAL, "The service failed on this request: its log says more under this id."
            )


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every exception that leaves a route with a problem."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        problem = describe(error)
        if problem.kind is INTERNAL:  # the traceback follows from the server
            logger.error("request %s failed: %s", request_id(request), type(error).__name__)
        elif problem.kind in (NOT_READY, DEADLINE) or isinstance(error, EngineOverloadedError):
            logger.warning("request %s was not answered: %s", request_id(request), error)
        return _response(request, problem)

    for kind in (
        ProblemError,
        ImageError,
        BoxError,
        OptionsError,
        EngineUnavailableError,
        UnknownModelError,
        EngineTimeoutError,
        TimeoutError,
        SupersededError,
        StaleFrameError,
        ClockError,
        TooManyCamerasError,
        TrackingUnavailableError,
        ClientDisconnect,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer)


def _response(request: Request, problem: ProblemError) -> JSONResponse:
    details = ProblemDetails.of(problem, request_id(request))
    return JSONResponse(
        details.model_dump(), details.status, problem.headers, media_type=PROBLEM_TYPE
    )


def _sentence(error: Exception, advice: str = "") -> str:
    text = str(error).rstrip(". ")
    text = f"{text}; {advice}" if advice else text
    return f"{text[:1].upper()}{text[1:]}."


def _http_detail(error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address: /docs lists what there is."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"The method is not allowed here: use {allowed}."
    return str(error.detail)
