"""All cameras of a command: each read in a thread, looked at in turn, written to every output."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field, replace
from typing import Final

from farpose.cores import usable_cores
from farpose.watch.addresses import Kind, Source
from farpose.watch.capture import Capture, CaptureSettings
from farpose.watch.finders import AwayError, FatalError, Finder, Finders, UnansweredError
from farpose.watch.pictures import Slot
from farpose.watch.records import RecordWriter
from farpose.watch.sinks.queue import Sink
from farpose.watch.state import CameraState

JOIN_SECONDS: Final = 1.0
"""How long the threads of cameras may take to end; FFmpeg may hold them longer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watching:
    """What is watched and how."""

    sources: tuple[Source, ...]
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    only_people: bool = False
    """Leave out the records of pictures without people."""

    interval: float = 0.0
    """Least seconds between two records of a camera."""

    drain: float = 5.0
    """Seconds that outputs may take to deliver what is left when the command ends."""


class Agent:
    """Watches cameras until all have ended or it is stopped.

    Args:
        watching: the cameras.
        finders: find their people.
        sinks: where records go; they are started and closed here.
    """

    def __init__(self, watching: Watching, finders: Finders, sinks: Sequence[Sink]) -> None:
        self.cameras = tuple(CameraState(s.name, s.shown) for s in watching.sources)
        self.sinks = tuple(sinks)
        self.finders = finders
        self._watching = watching
        self._captures: list[Capture] = []
        self._stopping = asyncio.Event()
        self._gate: AbstractAsyncContextManager[None] = (
            asyncio.Semaphore(finders.at_once) if finders.at_once else nullcontext()
        )

    def stop(self) -> None:
        """End soon, in good order."""
        self._stopping.set()

    async def run(self) -> None:
        """Return when every source has ended, or after `stop`.

        Raises:
            FatalError: nobody finds people any more.
            TrackingUnavailableError: the package that follows people is not installed.
        """
        async with self._delivering():
            watchers = [
                asyncio.create_task(self._watch(source, state))
                for source, state in zip(self._watching.sources, self.cameras, strict=True)
            ]
            helpers = [
                asyncio.create_task(self._stop(watchers)),
                asyncio.create_task(self._until_nobody_listens()),
            ]
            try:
                await asyncio.wait(watchers, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in (*helpers, *watchers):
                    task.cancel()
                ended = await asyncio.gather(*watchers, *helpers, return_exceptions=True)
                await asyncio.to_thread(self._join)
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _join(self) -> None:
        end = time.monotonic() + JOIN_SECONDS
        for capture in self._captures:
            capture.join(end - time.monotonic())

    async def _stop(self, watchers: Sequence[asyncio.Task[None]]) -> None:
        await self._stopping.wait()
        for watcher in watchers:
            watcher.cancel()

    async def _until_nobody_listens(self) -> None:
        """Stop when the last output is closed for good."""
        while not self.sinks or not all(sink.closed for sink in self.sinks):
            await asyncio.sleep(0.25)
        self.stop()

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        for sink in self.sinks:
            sink.start()
        try:
            yield
        finally:
            drain = self._watching.drain
            await asyncio.gather(*(asyncio.to_thread(sink.close, drain) for sink in self.sinks))

    async def _watch(self, source: Source, state: CameraState) -> None:
        settings = self._watching.capture
        every = settings.every_frame and source.kind is Kind.FILE
        slot = Slot(asyncio.get_running_loop(), wait=every)
        threads = max(1, usable_cores() // len(self.cameras))
        capture = Capture(source, slot, state, replace(settings, decoder_threads=threads))
        writer = RecordWriter(source.name, self._watching.only_people, self._watching.interval)
        async with self.finders.camera(source.name) as finder:
            self._captures.append(capture)
            capture.start()
            try:
                while await slot.filled():
                    await self._look(slot, finder, state, writer)
            finally:
                capture.stop()

    async def _look(
        self, slot: Slot, finder: Finder, state: CameraState, writer: RecordWriter
    ) -> None:
        """Answer the newest picture when it is this camera's turn, and write what was found."""
        await finder.ready()
        async with self._gate:
            picture = slot.take()  # now, as newer ones may have come while it waited
            if picture is None:
                return
            try:
                answer = await finder.find(picture)
            except AwayError:
                return
            except FatalError:
                raise
            except Exception as error:  # noqa: BLE001 -- other pictures and cameras go on
                _unanswered(state, error)
                return
        latency = (time.monotonic() - picture.arrival) * 1e3
        state.answer(len(answer["people"]), latency)
        record = writer.record(picture, answer, slot.dropped, latency)
        if record is not None:
            for sink in self.sinks:
                await sink.put(record)


def _unanswered(state: CameraState, error: Exception) -> None:
    state.unanswered += 1
    if state.unanswered == 1:
        words = str(error)
        if not isinstance(error, UnansweredError):
            words = f"{type(error).__name__}: {error}"
        logger.error("%s: a picture was not answered: %s", state.name, words)


def has_failed(agent: Agent) -> bool:
    """Whether a camera, an output or a service should be looked into."""
    return (
        bool(agent.finders.trouble)
        or any(camera.has_failed for camera in agent.cameras)
        or any(sink.lost or sink.closed for sink in agent.sinks)
    )


def summary(agent: Agent) -> Iterator[str]:
    """A line for each camera and output, for people."""
    for camera in agent.cameras:
        reason = f" ({camera.reason})" if camera.reason else ""
        missed = f", {camera.unanswered} not answered" if camera.unanswered else ""
        yield (
            f"{camera.name}: {camera.state}{reason}, {camera.read} pictures, "
            f"{camera.answered} answered, {camera.dropped} dropped{missed}, "
            f"lost {camera.reconnects} times"
        )
    for sink in agent.sinks:
        trouble = f" ({sink.trouble})" if sink.trouble else ""
        yield f"{sink.name}: {sink.delivered} records, {sink.lost} lost{trouble}"
    if agent.finders.trouble:
        yield f"the service: {agent.finders.trouble}"


@contextmanager
def stopped_by_signals(agent: Agent) -> Iterator[None]:
    """End the agent in good order on SIGINT and SIGTERM; a second one ends the process."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        logger.info("%s: ending", number.name)
        agent.stop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
