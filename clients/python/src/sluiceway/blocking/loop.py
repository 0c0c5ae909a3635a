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
        self._loop = asyncio.new_event_loop()
        # A daemon: a program that forgets to close its gateway still ends.
        self._thread = threading.Thread(target=self._run, name="sluiceway", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry a coroutine out and return its result; an interrupted wait cancels it.

        Raises:
            SluicewayError: The loop does not run, or this is its own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            work.close()
            raise SluicewayError("the client is closed, or called from its own thread; use it inside 'with', and not from callbacks of its futures")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and wait for the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
