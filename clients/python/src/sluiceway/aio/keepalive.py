"""Tells the grid that a session's client is still there while its object lives and nobody polls."""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Final, Protocol

from sluiceway.aio.background import Background
from sluiceway.errors import SluicewayError

__all__ = ["KeepAlive", "Kept"]

_LOG: Final = logging.getLogger("sluiceway")
_INTERVAL: Final = 20.0
"""Seconds: a session that was never used closes itself after 60 s without a sign of its client."""
_AT_ONCE: Final = 8


class Kept(Protocol):
    """A session that wants to live."""

    def quiet_for(self, now: float) -> float:
        """Return for how many seconds no poll was under way."""
        ...

    async def touch(self) -> None:
        """Give a sign of life."""
        ...


class KeepAlive:
    """Touches quiet sessions; holds them weakly, so that a session nobody uses any more falls silent.

    Args:
        background: Holds the task.
        interval: Seconds of silence that are too long.
    """

    def __init__(self, *, background: Background, interval: float = _INTERVAL) -> None:
        self._background = background
        self._interval = interval
        self._sessions: weakref.WeakSet[Kept] = weakref.WeakSet()
        self._task: asyncio.Task[None] | None = None

    def add(self, session: Kept) -> None:
        """Keep a session alive."""
        self._sessions.add(session)
        if self._task is None or self._task.done():
            self._task = self._background.start(self._run(), name="sluiceway: keep sessions alive")

    def remove(self, session: Kept) -> None:
        """Leave a session alone."""
        self._sessions.discard(session)

    async def _run(self) -> None:
        while self._sessions:
            await asyncio.sleep(self._interval / 4)
            now = asyncio.get_running_loop().time()
            gate = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(self._touch(one, gate) for one in tuple(self._sessions) if one.quiet_for(now) >= self._interval / 2))

    async def _touch(self, session: Kept, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                await session.touch()
            except SluicewayError as exc:
                # Whoever uses the session next hears of it; a side task has nobody to tell.
                _LOG.debug("keep-alive failed: %s", exc)
                if getattr(exc, "status", 0) in {404, 409, 410}:
                    self.remove(session)
