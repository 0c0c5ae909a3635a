"""One event loop in one background thread, owned by one object."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from sluiceway.errors import SluicewayError

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for threads that have no event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        # Only now: an object that is never entered holds no sockets.
        self._loop = loop = asyncio.new_event_loop()
        # A daemon: a program that forgets to close its gateway still ends.
        self._thread = threading.Thread(target=_run, args=(loop,), name="sluiceway", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the loop takes work."""
        return self._loop is not None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry a coroutine out and return its result; an interrupted wait cancels it.

        Raises:
            SluicewayError: The loop does not run, or this is its own thread, which would wait for itself.
        """
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            work.close()
            raise SluicewayError("the client is closed, or called from its own thread; use it inside 'with', and not from callbacks of its futures")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and wait for the thread."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
