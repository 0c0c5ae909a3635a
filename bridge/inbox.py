"""The one place where everything that can happen to a session arrives, so that its owner handles one thing after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """An unbounded queue for one reader: those who put are bounded themselves (prefetch, window, one reader)."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._items.append(item)
        self._filled.set()

    async def wait(self, within: float) -> None:
        """Return as soon as there is an item, or after ``within`` seconds."""
        if self._items:
            return
        self._filled.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._filled.wait()

    def pop(self) -> T | None:
        """Take the oldest item; None when there is none. One at a time, so that nothing is lost when handling one ends an epoch."""
        return self._items.popleft() if self._items else None

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Drop all items but those wanted."""
        self._items = deque(item for item in self._items if wanted(item))
