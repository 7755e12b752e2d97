"""The page at `/`: plain files of this package, kept in memory and served as they are.

No other file can be reached: an address is looked up among the names that were read at the start.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

FOLDER: Final = Path(__file__).parent / "page"
FRONT: Final = "index.html"

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Only this service's own files; nothing inline, no other host, in nobody's frame. A clip that the
visitor chose is a blob."""

HEADERS: Final = {
    # Asked for again each time and answered 304 while unchanged: after an update the files that
    # belong together come together.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class PageFile:
    """One file as it is answered."""

    content: bytes
    media_type: str
    tag: str
    """`ETag`: a hash of the content, in quotes."""

    @classmethod
    def read(cls, path: Path) -> PageFile:
        """A file of the package."""
        content = path.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, MEDIA_TYPES[path.suffix], tag)

    def answer(self, request: Request) -> Response:
        """The file, or 304 where the caller has it."""
        headers = {**HEADERS, "ETag": self.tag}
        if self.tag in _tags(request.headers.get("If-None-Match", "")):
            return Response(status_code=304, headers=headers)
        # Set as a header: media_type would add a second charset.
        return Response(self.content, headers={**headers, "Content-Type": self.media_type})


def page_router() -> APIRouter:
    """`GET /` and the files it needs under `/page/`."""
    files = {path.name: PageFile.read(path) for path in sorted(FOLDER.iterdir())}
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def front(request: Request) -> Response:
        return files[FRONT].answer(request)

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        found = files.get(name)
        if found is None:
            raise HTTPException(404)
        return found.answer(request)

    return router


def _tags(header: str) -> set[str]:
    """The tags of `If-None-Match`; a proxy that compresses makes them weak."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
