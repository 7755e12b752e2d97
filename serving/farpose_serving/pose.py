"""`POST /pose`: a picture in, its people out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import cv2
from fastapi import APIRouter, Depends, Request, Response

from farpose.drawing import draw_people
from farpose.images import decode_image
from farpose.people import People
from farpose_serving.answers import PoseAnswer
from farpose_serving.pictures import BINARY, REQUEST_BODY, read_picture
from farpose_serving.problems import (
    DEADLINE,
    INTERNAL,
    INVALID_REQUEST,
    NOT_READY,
    TOO_LARGE,
    UNREADABLE_IMAGE,
    UNSUPPORTED_TYPE,
    problem_responses,
)
from farpose_serving.queries import PoseQuery, pose_query, query_parameters
from farpose_serving.request_ids import request_id
from farpose_serving.service import Service, service_of

JPEG_QUALITY: Final = 90
JPEG_MAX_SIDE: Final = 65_500
"""libjpeg's limit; a picture with a longer side is answered as PNG."""

router = APIRouter()


@router.post(
    "/pose",
    summary="Find the people of a picture and their keypoints",
    response_model=PoseAnswer,
    response_model_exclude_none=True,
    responses={
        200: {"content": {"image/jpeg": {"schema": BINARY}, "image/png": {"schema": BINARY}}},
        **problem_responses(
            UNREADABLE_IMAGE,
            TOO_LARGE,
            UNSUPPORTED_TYPE,
            INVALID_REQUEST,
            INTERNAL,
            NOT_READY,
            DEADLINE,
        ),
    },
    openapi_extra={"parameters": query_parameters(), "requestBody": REQUEST_BODY},
)
async def find_people(
    request: Request,
    service: Annotated[Service, Depends(service_of)],
    query: Annotated[PoseQuery, Depends(pose_query)],
) -> PoseAnswer | Response:
    """Send a JPEG, PNG or WebP picture: raw, as the multipart field `file`, or in JSON.

    Of an animation the first frame is taken. The bytes decide how a picture is decoded, not the
    declared type. A picture that is cut off, be it by its last two bytes, is refused: half a
    picture would silently lose people. Nobody there is an empty list.
    """
    picture = await read_picture(request, service.settings.max_body_bytes)
    async with asyncio.timeout(service.settings.deadline_ms / 1e3):
        result = await service.backend.find(picture, query)
    if query.format == "image":
        drawn, media_type = await asyncio.to_thread(
            _draw, picture, service.settings.max_pixels, result.people
        )
        return Response(drawn, media_type=media_type)
    return PoseAnswer.from_result(result, request_id(request), variances=query.variances)


def _draw(picture: bytes, max_pixels: int, people: People) -> tuple[bytes, str]:
    frame = decode_image(picture, max_pixels)
    drawn = draw_people(frame, people)[:, :, ::-1]
    if max(frame.shape) <= JPEG_MAX_SIDE:
        _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return encoded.tobytes(), "image/jpeg"
    _, encoded = cv2.imencode(".png", drawn)
    return encoded.tobytes(), "image/png"
