"""Video through PyAV: one open camera or file, and its pictures until something ends them."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import av.error

from farpose.watch.addresses import Kind, Source

BROKEN_PACKETS: Final = 200
"""So many packets in a row that cannot be decoded are no video."""

_HTTP: Final[dict[type[Exception], str]] = {
    av.error.HTTPBadRequestError: "answers 400 (bad request)",
    av.error.HTTPUnauthorizedError: "answers 401: user or password is missing or wrong",
    av.error.HTTPForbiddenError: "answers 403: this user may not see it",
    av.error.HTTPNotFoundError: "answers 404: there is no such stream",
    av.error.HTTPTooManyRequestsError: "answers 429: too many requests",
    av.error.HTTPOtherClientError: "refuses the request (4xx)",
    av.error.HTTPServerError: "answers that it has failed (5xx)",
}


class VideoError(RuntimeError):
    """A camera or file cannot be opened or read on; the message says why, and has no address."""


class Transport(StrEnum):
    """How RTSP cameras send."""

    AUTO = "auto"
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True)
class Timeouts:
    """Seconds that a source may take."""

    open: float = 10.0
    stall: float = 10.0
    """Without a picture."""


class Video:
    """An open source.

    A context manager; it is used in one thread.

    Args:
        source: what to open.
        timeouts: after which a silent source counts as lost.
        transport: of RTSP.
        threads: of the decoder.

    Raises:
        VideoError: it does not answer, refuses, or has no video.
    """

    def __init__(
        self,
        source: Source,
        timeouts: Timeouts,
        transport: Transport = Transport.AUTO,
        threads: int = 1,
    ) -> None:
        self._source = source
        self._timeouts = timeouts
        started = time.monotonic()
        try:
            self._container = av.open(
                source.address,
                format="v4l2" if source.kind is Kind.DEVICE else None,
                options=_options(source, timeouts, transport),
                timeout=(timeouts.open, timeouts.stall),
            )
        except (OSError, av.error.FFmpegError, ValueError) as error:
            taken = time.monotonic() - started
            raise VideoError(_opening_failed(error, source, taken, timeouts.open)) from None
        if not self._container.streams.video:
            sound = bool(self._container.streams.audio)
            self._container.close()
            raise VideoError("there is sound but no video" if sound else "there is no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_count = threads

    @property
    def is_live(self) -> bool:
        """Whether it goes on for as long as it is there, and does not end like a file."""
        if self._source.kind is Kind.FILE:
            return False
        return self._source.kind is Kind.DEVICE or self._container.duration is None

    @property
    def description(self) -> str:
        """Size and codec, for people."""
        stream = self._stream
        rate = f", {float(stream.average_rate):.4g} fps" if stream.average_rate else ""
        return f"{stream.width}x{stream.height} {stream.codec_context.name}{rate}"

    def seconds_of(self, frame: av.VideoFrame, index: int) -> float:
        """When a picture is shown, in seconds of the source.

        Args:
            frame: the picture.
            index: its number since the source was opened, which counts where it has no time.
        """
        if frame.time is not None:
            return float(frame.time)
        return index / float(self._stream.average_rate or self._stream.guessed_rate or 25)

    def pictures(self) -> Iterator[av.VideoFrame]:
        """Decoded pictures in order, until the source ends.

        Raises:
            VideoError: it is lost, stalls, or what it sends cannot be decoded.
        """
        last = time.monotonic()
        broken = 0
        packets = self._container.demux()
        while True:
            began = time.monotonic()
            try:
                packet = next(packets, None)
            except (OSError, av.error.FFmpegError) as error:
                if isinstance(error, av.error.EOFError):
                    return
                taken = time.monotonic() - began
                raise VideoError(_reading_failed(error, taken, self._timeouts.stall)) from None
            if packet is None:
                return
            if packet.stream is self._stream:
                try:
                    for frame in packet.decode():
                        if isinstance(frame, av.VideoFrame):
                            yield frame
                            broken, last = 0, time.monotonic()
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    broken += 1
            silent = time.monotonic() - last
            if broken > BROKEN_PACKETS or silent > self._timeouts.stall:
                what = "what it sends cannot be decoded" if broken else "it sends no pictures"
                raise VideoError(f"{what} for {silent:.0f} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()


def _options(source: Source, timeouts: Timeouts, transport: Transport) -> dict[str, str]:
    if source.kind is not Kind.NETWORK:
        return {}
    # Pictures that were read to find out what the stream is would come first, and late; counting
    # its rate would take twenty of them, seconds of a slow camera.
    options = {"fflags": "nobuffer", "fpsprobesize": "0"}
    if source.address.lower().startswith("rtsp"):
        options["timeout"] = str(round(timeouts.stall * 1e6))
        if transport is Transport.AUTO:
            options["rtsp_flags"] = "prefer_tcp"
        else:
            options["rtsp_transport"] = transport.value
    return options


def _opening_failed(error: Exception, source: Source, taken: float, limit: float) -> str:
    if source.kind is Kind.FILE:
        if Path(source.address).is_dir():
            return "this is a folder"
        if isinstance(error, av.error.InvalidDataError | ValueError | av.error.EOFError):
            empty = Path(source.address).stat().st_size == 0
            return "the file is empty" if empty else "there is no video in it that can be read"
        return _words(error)
    if taken >= limit:
        return f"no answer within {limit:.3g} s"
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return "what it sends is no video that can be read"
    return _words(error)


def _reading_failed(error: Exception, taken: float, limit: float) -> str:
    if isinstance(error, av.error.ExitError | TimeoutError) or taken >= limit:
        return f"it sent nothing for {limit:.3g} s"
    if isinstance(error, av.error.InvalidDataError):
        return "what it sends is no video that can be read"
    return _words(error)


def _words(error: Exception) -> str:
    """What went wrong without the address, which FFmpeg's messages have with its password."""
    for kind, words in _HTTP.items():
        if isinstance(error, kind):
            return words
    number: Any = getattr(error, "errno", None)
    if number == errno.EPROTONOSUPPORT:
        return "it does not send by this transport: see --rtsp-transport"
    return str(getattr(error, "strerror", None) or type(error).__name__)
