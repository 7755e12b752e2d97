"""A queue of records, and the thread that delivers them one after another."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import Final, Protocol

from farpose.watch.records import Record

QUEUE: Final = 256
"""Records that wait for an output at most; when one more comes, the oldest is lost."""

logger = logging.getLogger(__name__)


class Stopping(Protocol):
    """Tells who delivers that the command is about to end."""

    def wait(self, seconds: float) -> bool:
        """Rest for so long, or until the time for deliveries is over: True."""
        ...


class Delivery(Protocol):
    """Brings records to one place. All of it is called in one thread, and may block."""

    def deliver(self, record: Record, stopping: Stopping) -> None:
        """Bring one record; try again until it is there, refused, or `stopping`.

        Raises:
            LostError: it is refused, or there was no time; the next one may be delivered.
            ClosedError: nobody will take any record again.
        """
        ...

    def finish(self, stopping: Stopping) -> int:
        """Wait until everything has arrived, and close; how many records did not."""
        ...


class LostError(RuntimeError):
    """A record is not delivered; the message says why."""


class ClosedError(RuntimeError):
    """Nobody takes records any more; the message says why."""


class Sink:
    """An output: records in without waiting, delivered in a thread.

    Args:
        name: as people are told of it, without credentials.
        delivery: brings the records to their place.
        size: of the queue.
        wait: whether `put` waits for room, so that nothing is lost, instead of dropping the oldest.
    """

    def __init__(
        self, name: str, delivery: Delivery, size: int = QUEUE, *, wait: bool = False
    ) -> None:
        self.name = name
        self.delivered = 0
        self.lost = 0
        """Records that were dropped, refused, or left when the command ended."""

        self.trouble = ""
        """Why nothing is delivered just now."""

        self.closed = False
        """Whether nobody will take any record again."""

        self._delivery = delivery
        self._size = size
        self._wait = wait
        self._records: deque[Record] = deque()
        self._changed = threading.Condition()
        self._in_hand = False
        self._ending = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output {name}", daemon=True)

    @property
    def waiting(self) -> int:
        """Records in the queue."""
        return len(self._records)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    async def put(self, record: Record) -> None:
        """Leave a record."""
        with self._changed:
            if self._has_room() or not self._wait:
                self._append(record)
                return
        await asyncio.to_thread(self._put_when_there_is_room, record)

    def close(self, seconds: float) -> None:
        """Deliver what is there, for at most so long; the rest is lost."""
        end = time.monotonic() + seconds
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(seconds)
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(max(end - time.monotonic(), 0.0) + 0.5)
        self.lost += len(self._records) + self._in_hand
        self._records.clear()

    def wait(self, seconds: float) -> bool:
        """See `Stopping.wait`."""
        return self._over.wait(seconds)

    def says(self, trouble: str) -> None:
        """Note why nothing is delivered, or with "" that it is; a change is logged."""
        if trouble and trouble != self.trouble:
            logger.warning("%s: %s", self.name, trouble)
        elif self.trouble and not trouble:
            logger.info("%s: takes records again, %d were lost so far", self.name, self.lost)
        self.trouble = trouble

    def _has_room(self) -> bool:
        return len(self._records) < self._size or self.closed or self._ending

    def _append(self, record: Record) -> None:
        if self.closed:
            self.lost += 1
            return
        if len(self._records) >= self._size:
            self._records.popleft()
            self.lost += 1
        self._records.append(record)
        self._changed.notify_all()

    def _put_when_there_is_room(self, record: Record) -> None:
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._append(record)

    def _run(self) -> None:
        while (record := self._next()) is not None:
            self._in_hand = True
            try:
                self._delivery.deliver(record, self)
            except LostError as error:
                self.lost += 1
                self.says(str(error))
            except ClosedError as error:
                self._shut(str(error))
                return
            except Exception as error:
                self._shut(f"{type(error).__name__} while records were delivered")
                logger.debug("%s", self.name, exc_info=True)
                return
            else:
                self.delivered += 1
                self.says("")
            finally:
                self._in_hand = False
        missing = self._delivery.finish(self)
        self.delivered -= missing
        self.lost += missing

    def _shut(self, trouble: str) -> None:
        self.says(trouble)
        with self._changed:
            self.lost += 1 + len(self._records)
            self._records.clear()
            self.closed = True
            self._changed.notify_all()

    def _next(self) -> Record | None:
        with self._changed:
            self._changed.wait_for(lambda: self._records or self._ending)
            if self._over.is_set() or not self._records:
                return None
            record = self._records.popleft()
            self._changed.notify_all()
            return record
