"""Errors as callers see them: RFC 9457 problem details, for whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from farpose.engine import EngineTimeoutError, EngineUnavailableError, UnknownModelError
from farpose.geometry import BoxError
from farpose.images import ImageError, ImageFormatError, ImageTooLargeError
from farpose.remote_pipeline import OptionsError
from farpose_serving.request_ids import REQUEST_ID_HEADER, request_id

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
INCOMPLETE_BODY: Final = Kind(400, "incomplete-body", "The request body is incomplete")
TOO_LARGE: Final = Kind(413, "too-large", "The request is too large")
UNSUPPORTED_TYPE: Final = Kind(415, "unsupported-type", "The type is not supported")
INVALID_REQUEST: Final = Kind(422, "invalid-request", "The request is not valid")
INTERNAL: Final = Kind(500, "internal", "The service failed")
NOT_READY: Final = Kind(503, "not-ready", "The service is not ready")
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
        case BoxError() | OptionsError():
            return ProblemError(INVALID_REQUEST, _sentence(error))
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
        elif problem.kind in (NOT_READY, DEADLINE):
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
        ClientDisconnect,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer)


def problem_responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """OpenAPI documentation of the problems a route answers with."""
    return {
        kind.status: {
            "description": kind.title,
            "content": {
                PROBLEM_TYPE: {
                    "schema": ProblemDetails.model_json_schema(),
                    "example": {
                        "type": kind.uri,
                        "title": kind.title,
                        "status": kind.status,
                        "detail": "One sentence that says what is wrong and what to do.",
                        "id": "0f8e6a7c2b1d4f0e9a3c5b7d9e1f2a3b",
                    },
                }
            },
        }
        for kind in kinds
    }


def _response(request: Request, problem: ProblemError) -> JSONResponse:
    details = ProblemDetails(
        type=problem.kind.uri,
        title=problem.kind.title,
        status=problem.kind.status,
        detail=problem.detail,
        id=request_id(request),
    )
    headers = {**(problem.headers or {}), REQUEST_ID_HEADER: details.id}
    return JSONResponse(details.model_dump(), details.status, headers, media_type=PROBLEM_TYPE)


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
