"""One source in a thread of its own: opened, read, and opened again when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpose.watch.addresses import Kind, Source
from farpose.watch.backoff import Backoff
from farpose.watch.pictures import Picture, Slot
from farpose.watch.state import CameraState, State
from farpose.watch.video import Timeouts, Transport, Video, VideoError

if TYPE_CHECKING:
    import av

STEADY_SECONDS: Final = 5.0
"""A camera that has sent pictures for so long is tried again at once when it is lost."""

LEAST_STEP: Final = 1e-3
"""Seconds between the timestamps of two pictures, where a file says less."""

LONGEST_GAP: Final = 60.0
"""Seconds between two pictures of a file; where its clock jumps further, it goes on at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptureSettings:
    """How sources are read."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    transport: Transport = Transport.AUTO
    first_pause: float = 0.5
    """Seconds before a lost camera is tried again, about; they double from try to try."""

    longest_pause: float = 30.0
    attempts: int = 0
    """A camera is given up after so many failed attempts in a row; 0 never gives up."""

    every_frame: bool = False
    """Of files: every picture, as fast as they are looked at, instead of at the file's rate."""

    decoder_threads: int = 1


class Capture:
    """Reads one source into a slot until it ends or is told to stop.

    Args:
        source: what to read.
        slot: where its pictures go.
        state: what it tells of itself.
        settings: how it is read.
    """

    def __init__(
        self, source: Source, slot: Slot, state: CameraState, settings: CaptureSettings
    ) -> None:
        self._source = source
        self._slot = slot
        self._state = state
        self._settings = settings
        self._backoff = Backoff(settings.first_pause, settings.longest_pause)
        self._stopping = threading.Event()
        self._first_opened: float | None = None
        self._timestamp = float("-inf")
        # A daemon: what it waits for in FFmpeg can take as long as the timeouts.
        self._thread = threading.Thread(target=self._run, name=f"camera {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; without waiting."""
        self._stopping.set()
        self._slot.close()

    def join(self, seconds: float) -> None:
        """Wait for the thread, at most so long."""
        self._thread.join(max(seconds, 0.0))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._read_once():
                    return
        finally:
            self._slot.close()

    def _read_once(self) -> bool:
        """Open the source and read it to its end; whether to do it again."""
        state, settings = self._state, self._settings
        if self._source.kind is Kind.FILE and not Path(self._source.address).exists():
            self._fail("there is no such file")
            return False
        state.state = State.CONNECTING
        opened = None
        try:
            with Video(
                self._source, settings.timeouts, settings.transport, settings.decoder_threads
            ) as video:
                opened = time.monotonic()
                state.description = video.description
                live = video.is_live
                self._read(video, live)
                reason = "the stream has ended"
        except VideoError as error:
            live = self._source.kind is not Kind.FILE
            reason = str(error)
        except Exception as error:
            live = self._source.kind is not Kind.FILE
            reason = f"{type(error).__name__} while it was read"  # its words may have a password
            logger.debug("%s: not foreseen", self._source.name, exc_info=True)
        else:
            if self._stopping.is_set():
                return False
            if not live:
                return self._end()
        if self._stopping.is_set():
            return False
        if not live:
            self._fail(reason)
            return False
        return self._lose(reason, opened)

    def _read(self, video: Video, live: bool) -> None:
        """Hand on every picture until the source ends or the command does."""
        paced = not live and not self._settings.every_frame
        start: float | None = None
        for index, frame in enumerate(video.pictures()):
            if self._stopping.is_set():
                return
            if self._state.state is not State.LIVE:
                self._live(video)
            seconds = video.seconds_of(frame, index)
            if paced:
                now = time.monotonic()
                if start is None or start + seconds - now > LONGEST_GAP:
                    start = now - seconds
                if self._stopping.wait(max(start + seconds - now, 0.0)):
                    return
            self._slot.put(self._picture(frame, None if live else seconds))
            self._state.dropped = self._slot.dropped

    def _picture(self, frame: av.VideoFrame, seconds: float | None) -> Picture:
        now = time.monotonic()
        if self._first_opened is None:
            self._first_opened = now
        since = now - self._first_opened
        taken = since if seconds is None else seconds
        self._timestamp = max(taken, self._timestamp + LEAST_STEP)
        number = self._state.read
        self._state.read += 1
        return Picture(frame, number, self._timestamp, datetime.now(UTC), now)

    def _live(self, video: Video) -> None:
        again = "again " if self._state.read else ""
        logger.info("%s: %ssends pictures, %s", self._source.name, again, video.description)
        self._state.reason = ""
        self._state.state = State.LIVE

    def _end(self) -> bool:
        """A file has ended."""
        if not self._state.read:
            self._fail("there is no picture in it that can be decoded")
            return False
        self._state.state = State.ENDED
        logger.info("%s: ended after %d pictures", self._source.name, self._state.read)
        return False

    def _fail(self, reason: str) -> None:
        self._state.reason = reason
        self._state.state = State.FAILED
        logger.error("%s: %s: %s", self._source.name, self._source.shown, reason)

    def _lose(self, reason: str, opened: float | None) -> bool:
        """Say that the camera is lost, and wait; whether to try again."""
        state, settings = self._state, self._settings
        was_live = state.state is State.LIVE
        if was_live and opened is not None and time.monotonic() - opened >= STEADY_SECONDS:
            self._backoff.succeeded()
        pause = self._backoff.failed()
        if settings.attempts and self._backoff.failures >= settings.attempts:
            self._fail(f"{reason}; given up after {self._backoff.failures} attempts")
            return False
        told = state.reason == reason
        state.reason = reason
        state.retry_at = time.monotonic() + pause
        state.reconnects += was_live
        state.state = State.LOST
        # Every attempt of a camera that is away for days would fill a log.
        level = logging.DEBUG if told and pause > settings.longest_pause / 2 else logging.WARNING
        logger.log(
            level,
            "%s: lost: %s: %s; next attempt in %.1f s",
            self._source.name,
            self._source.shown,
            reason,
            pause,
        )
        return not self._stopping.wait(pause)
