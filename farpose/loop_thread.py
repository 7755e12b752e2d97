"""An event loop in a thread of its own, for synchronous callers, who may have a loop themselves."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class ClosedError(RuntimeError):
    """It was closed, or belongs to the process that this one was forked from."""


class LoopThread:
    """Runs coroutines for any thread but its own.

    Args:
        owner: what messages call it.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_forever, name=owner, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine; `ClosedError` if nobody runs it any more."""
        try:
            self._check_open()
            with self._lock:
                self._check_open()
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except ClosedError:
            coroutine.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine. Ctrl-C cancels it."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Let what runs come to its end, then end the thread. More than once is the same."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ending.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if threading.current_thread() is not self._thread:  # the garbage collector can be anywhere
            self._thread.join()

    def _run_forever(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise ClosedError(f"this {self._owner} was made in another process: make one in each")
        if self._closed:
            raise ClosedError(f"this {self._owner} is closed")

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor()
