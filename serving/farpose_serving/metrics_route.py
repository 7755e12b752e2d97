"""`GET /metrics`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from farpose_serving.api_document import REQUEST_ID, problem_responses
from farpose_serving.problems import INTERNAL, NOT_READY, UNAUTHORIZED
from farpose_serving.service import Service, caller_of, the_service

_EXAMPLE: Final = (
    "# HELP farpose_queue_depth Pictures that wait for their turn\n"
    "# TYPE farpose_queue_depth gauge\n"
    "farpose_queue_depth 0.0\n"
)

router = APIRouter()


@router.get(
    "/metrics",
    summary="What Prometheus reads",
    response_class=Response,
    responses={
        200: {
            "headers": REQUEST_ID,
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **problem_responses(UNAUTHORIZED, INTERNAL, NOT_READY),
    },
    dependencies=[Depends(caller_of)],
)
async def metrics(service: Annotated[Service, Depends(the_service)]) -> Response:
    """Counters and durations since the start; the names are in docs/operations.md."""
    service.note_load()
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
