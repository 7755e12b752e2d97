"""The picture of a request: raw, in a multipart field, or in JSON; all of it in memory.

Nothing that was sent is ever written to disk, and no more is read than is allowed.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from farpose.images import FORMATS
from farpose_serving.problems import (
    INVALID_REQUEST,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    ProblemError,
    validation_detail,
)

MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FIELD: Final = "file"
ACCEPTED: Final = (*FORMATS.values(), MULTIPART, JSON)

BINARY: Final = {"type": "string", "format": "binary"}
_OBJECT: Final = {"type": "object", "additionalProperties": False}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_IMAGE: Final = {
    **_OBJECT,
    "properties": {"type": {"const": "base64"}, "value": _BASE64},
    "required": ["type", "value"],
}

_GREY_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)

REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        **{media_type: {"schema": BINARY} for media_type in FORMATS.values()},
        MULTIPART: {"schema": {**_OBJECT, "properties": {FIELD: BINARY}, "required": [FIELD]}},
        JSON: {
            "schema": {**_OBJECT, "properties": {"image": _IMAGE}, "required": ["image"]},
            "example": {"image": {"type": "base64", "value": _GREY_PIXEL}},
        },
    },
}
"""What `read_picture` takes, as OpenAPI says it."""


class Base64Image(BaseModel):
    """A picture in JSON."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["base64"]
    value: str


class JsonBody(BaseModel):
    """The JSON body of `POST /pose`."""

    model_config = ConfigDict(extra="forbid")

    image: Base64Image


async def read_picture(request: Request, max_bytes: int) -> bytes:
    """The encoded picture that a request carries.

    A declared picture type need not be the true one: cameras and proxies mislabel, so the bytes
    decide how the picture is decoded.

    Raises:
        ProblemError: 413, 415 or 422; the type and a declared length are judged before anything
            is read.
    """
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in ACCEPTED:
        found = f"The type {media_type[:80]!r}" if media_type else "A body without Content-Type"
        raise _unsupported(f"{found} is not supported: send one of {', '.join(ACCEPTED)}.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unsupported("A compressed body is not supported: send it without Content-Encoding.")
    body = await _read_body(request, max_bytes)
    if media_type == MULTIPART:
        return await _from_multipart(request.headers, body)
    if media_type == JSON:
        return await asyncio.to_thread(_from_json, body)
    return body


async def _read_body(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks, size = [], 0
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            chunks.append(chunk)
    return b"".join(chunks)


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, which would write a part of more than 1 MB to a temporary file."""

    spool_max_size = 0  # SpooledTemporaryFile: never roll over to disk


async def _from_multipart(headers: Headers, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemoryParser(headers, stream(), max_files=2, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _invalid(f"The multipart body cannot be parsed ({error.message}).") from None
    parts = form.multi_items()
    try:
        if [name for name, _ in parts] != [FIELD]:
            sent = ", ".join(repr(name[:40]) for name, _ in parts) or "none"
            raise _invalid(
                f"A multipart body has one field, {FIELD!r}, with the picture, not {sent}: "
                "options go into the query."
            )
        upload = parts[0][1]
        if not isinstance(upload, UploadFile):
            raise _invalid(f"The field {FIELD!r} is text: send the picture with a filename.")
        return await upload.read()
    finally:
        await form.close()


def _from_json(body: bytes) -> bytes:
    try:
        parsed = JsonBody.model_validate_json(body)
    except ValidationError as error:
        wanted = '{"image": {"type": "base64", "value": "..."}}'
        raise _invalid(f"The JSON body must be {wanted}: {validation_detail(error)}.") from None
    try:
        return base64.b64decode(parsed.image.value, validate=True)
    except ValueError as error:
        raise _invalid(
            f"image.value is not base64 ({error}): send the picture's bytes in base64, without "
            "a data: prefix and without line ends."
        ) from None


def _too_large(max_bytes: int) -> ProblemError:
    detail = f"The body is larger than the {max_bytes} bytes allowed: send a smaller picture."
    return ProblemError(TOO_LARGE, detail)


def _unsupported(detail: str) -> ProblemError:
    return ProblemError(UNSUPPORTED_TYPE, detail, {"Accept": ", ".join(ACCEPTED)})


def _invalid(detail: str) -> ProblemError:
    return ProblemError(INVALID_REQUEST, detail)
