"""Gathers tasks whose futures were cancelled, and takes them back from the grid together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sluiceway.aio.background import Background
from sluiceway.errors import SluicewayError

__all__ = ["Retractor"]

_LOG: Final = logging.getLogger("sluiceway")


class Retractor:
    """Cancels tasks in bulk; ``put`` may be called from any thread.

    Args:
        loop: The event loop of the client.
        cancel: Takes tasks back by their ids.
        background: Holds the side task.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop, cancel: Callable[[list[str]], Awaitable[int]], background: Background) -> None:
        self._loop = loop
        self._cancel = cancel
        self._background = background
        self._ids: list[str] = []
        self._awake = False
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None

    def put(self, task_id: str) -> None:
        """Take a task back soon."""
        with self._lock:
            self._ids.append(task_id)
            wake, self._awake = not self._awake, True
        if wake:
            # The loop is closed when a program drops its futures after its client: then the tasks are left to the grid.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._background.start(self._run(), name="sluiceway: take tasks back")

    async def _run(self) -> None:
        while ids := self._take():
            try:
                await self._cancel(ids)
            except SluicewayError as exc:
                # The futures are cancelled already; that the grid runs the tasks to their end is waste, not loss.
                _LOG.warning("%d cancelled tasks could not be taken back: %s", len(ids), exc)

    def _take(self) -> list[str]:
        with self._lock:
            ids, self._ids = self._ids, []
            self._awake = bool(ids)
        return ids
