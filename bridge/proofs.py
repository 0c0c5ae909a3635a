"""When an owner reads its journal afresh: when an input waits for it, when a reader is stuck, and now and then when nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.events import Event
from bridge.reading import prove_journal
from bridge.settings import SessionSettings
from broker.journal.view import JournalView

__all__ = ["Proofs"]


class Proofs:
    """Fresh readings of one epoch, one at a time, beside the reader that follows along.

    Args:
        view: The owner's view.
        settings: Times.
        tell: Takes the events.
        tasks: Where readings run.
    """

    def __init__(self, *, view: JournalView, settings: SessionSettings, tell: Callable[[Event], None], tasks: asyncio.TaskGroup) -> None:
        self._view = view
        self._settings = settings
        self._tell = tell
        self._tasks = tasks
        self._running: asyncio.Task[None] | None = None
        self._last = asyncio.get_running_loop().time()

    def start_if_due(self, now: float, *, wanted: bool) -> None:
        """Begin a reading when it is time for one.

        Args:
            now: The event loop's time.
            wanted: An input has waited its whole delay for one, or a reader is stuck.
        """
        pace = self._settings.reading_seconds if wanted else self._settings.idle_reading_seconds
        if self._running is not None or now - self._last < pace:
            return
        self._last = now
        self._running = self._tasks.create_task(prove_journal(self._view, self._tell))
        self._running.add_done_callback(self._finished)

    async def aclose(self) -> None:
        """End a reading that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _finished(self, _: asyncio.Task[None]) -> None:
        self._running = None
