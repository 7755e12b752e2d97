"""`POST /pose`: a picture in, its people out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Final

import cv2
from fastapi import APIRouter, Depends, Request, Response

from farpose.drawing import draw_people
from farpose.images import decode_image
from farpose.people import People
from farpose.tracking import Find
from farpose_serving.answers import PoseAnswer
from farpose_serving.api_document import RATE, REQUEST_ID, problem_responses
from farpose_serving.deadlines import DEADLINE_PARAMETER, deadline_of
from farpose_serving.pictures import BINARY, REQUEST_BODY, read_picture
from farpose_serving.problems import (
    DEADLINE,
    FOREIGN_ORIGIN,
    INCOMPLETE_BODY,
    INTERNAL,
    INVALID_REQUEST,
    NO_TRACKING,
    NOT_READY,
    ONE_WORKER,
    OVERLOADED,
    STALE_FRAME,
    SUPERSEDED,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNREADABLE_IMAGE,
    UNSUPPORTED_TYPE,
    ProblemError,
)
from farpose_serving.queries import PoseQuery, pose_query, query_parameters
from farpose_serving.request_ids import request_id
from farpose_serving.service import Service, sender_of, the_service

JPEG_QUALITY: Final = 90
JPEG_MAX_SIDE: Final = 65_500
"""libjpeg's limit; a picture with a longer side is answered as PNG."""

ONE_WORKER_DETAIL: Final = (
    "camera_id: this service runs in several processes, and pictures that are posted meet any of "
    "them: open WS /stream for the camera, or run one worker."
)

router = APIRouter()


@router.post(
    "/pose",
    summary="Find the people of a picture and their keypoints",
    response_model=PoseAnswer,
    response_model_exclude_none=True,
    responses={
        200: {
            "description": "The people, or the picture with them drawn on it",
            "headers": {**REQUEST_ID, **RATE},
            "content": {"image/jpeg": {"schema": BINARY}, "image/png": {"schema": BINARY}},
        },
        **problem_responses(
            UNREADABLE_IMAGE,
            INCOMPLETE_BODY,
            UNAUTHORIZED,
            FOREIGN_ORIGIN,
            TOO_LARGE,
            UNSUPPORTED_TYPE,
            SUPERSEDED,
            STALE_FRAME,
            ONE_WORKER,
            INVALID_REQUEST,
            TOO_MANY,
            INTERNAL,
            NO_TRACKING,
            NOT_READY,
            OVERLOADED,
            DEADLINE,
        ),
    },
    openapi_extra={
        "parameters": [*query_parameters(), DEADLINE_PARAMETER],
        "requestBody": REQUEST_BODY,
    },
)
async def find_people(
    request: Request,
    service: Annotated[Service, Depends(the_service)],
    caller: Annotated[str, Depends(sender_of)],
    query: Annotated[PoseQuery, Depends(pose_query)],
    deadline: Annotated[float, Depends(deadline_of)],
) -> Response:
    """Send a JPEG, PNG or WebP picture: raw, as the multipart field `file`, or in JSON.

    Of an animation the first frame is taken. The bytes decide how a picture is decoded, not the
    declared type. A picture that is cut off, be it by its last two bytes, is refused: half a
    picture would silently lose people. Nobody there is an empty list.
    """
    arrival = time.monotonic()
    if query.camera_id is not None and service.settings.workers > 1:
        raise ProblemError(ONE_WORKER, ONE_WORKER_DETAIL)
    # The pictures of a camera do not wait their turn behind all others, so theirs is not foretold.
    within = deadline if query.camera_id is None else math.inf
    drawn: Response | None = None
    with service.counting_drops(), service.admission.place(within):
        async with asyncio.timeout(deadline):
            picture = await read_picture(request, service.settings.max_body_bytes)
            async with _turn(query, service, caller, arrival) as find:
                result = await find(picture, query)
                if query.format == "image":  # which can take longer than to find the people
                    drawn = await asyncio.to_thread(
                        _drawn, picture, service.settings.max_pixels, result.people
                    )
    service.answered(result, "picture" if query.camera_id is None else "camera")
    if query.camera_id is not None:
        service.metrics.camera_frame(query.camera_id, time.monotonic() - arrival)
    if drawn is not None:
        return drawn
    answer = PoseAnswer.from_result(result, request_id(request), variances=query.variances)
    # FastAPI would check the answer once more and copy it into dictionaries before it writes it.
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


@asynccontextmanager
async def _turn(
    query: PoseQuery, service: Service, caller: str, arrival: float
) -> AsyncIterator[Find[bytes]]:
    """What finds the people of a picture, while it is the picture's turn."""
    find = service.backend.find
    if query.camera_id is None:
        async with service.admission.turn():
            yield find
        return
    async with service.cameras.camera(caller, query.camera_id) as camera:
        taken = camera.time_of(query.timestamp, arrival)
        async with (
            camera.turn.hold(taken) as begin,
            service.admission.turn(camera.last_served),
            camera.served(),
        ):
            begin()
            yield partial(camera.session.find, timestamp=taken, find=find)


def _drawn(picture: bytes, max_pixels: int, people: People) -> Response:
    frame = decode_image(picture, max_pixels)
    drawn = draw_people(frame, people)[:, :, ::-1]
    if max(frame.shape) <= JPEG_MAX_SIDE:
        _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return Response(encoded.tobytes(), media_type="image/jpeg")
    _, encoded = cv2.imencode(".png", drawn)
    return Response(encoded.tobytes(), media_type="image/png")
