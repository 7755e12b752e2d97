"""Logs: lines for people, or JSON objects for machines, each with the request it belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

request_id_now: ContextVar[str] = ContextVar("request_id_now", default="-")
"""The id of the request, or of the camera's picture, that is being answered."""

LogFormat = Literal["text", "json"]

TEXT: Final = "%(asctime)s %(levelname)s [%(request_id)s] %(message)s"
JSON: Final = "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s"

NAMES: Final = {
    "asctime": "time",
    "levelname": "level",
    "name": "logger",
    "exc_info": "traceback",
}
"""Python's names of fields, and ours."""


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id_now.get()
        return True


class _JsonLines(JsonFormatter):
    def __init__(self) -> None:
        # uvicorn repeats some messages with the colours of a terminal.
        left_out = [*RESERVED_ATTRS, "color_message"]
        super().__init__(JSON, rename_fields=NAMES, reserved_attrs=left_out)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Such as `2026-01-31T13:05:59.123+00:00`: with its zone, whatever the machine's is."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def log_handler(log_format: LogFormat, stream: TextIO | None = None) -> logging.Handler:
    """What writes records to a stream, standard error unless another is given."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(_WithRequestId())
    handler.setFormatter(logging.Formatter(TEXT) if log_format == "text" else _JsonLines())
    return handler


def configure_logging(log_format: LogFormat) -> None:
    """Log to standard error, uvicorn's records too, but for a line of its own per request."""
    logging.basicConfig(level=logging.INFO, handlers=[log_handler(log_format)], force=True)
    logging.getLogger("uvicorn.access").disabled = True
