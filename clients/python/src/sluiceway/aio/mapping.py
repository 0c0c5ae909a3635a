"""Ordered results from unordered outputs, with a bounded number of tasks under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager

from sluiceway.codecs import Value
from sluiceway.progress import Progress

__all__ = ["Counting", "map_ordered"]


class Counting:
    """Passes on to who wants to know how many tasks of a session were stored and have ended."""

    def __init__(self) -> None:
        self._listeners: list[Progress] = []

    @contextmanager
    def told(self, progress: Progress | None) -> Iterator[None]:
        """Tell ``progress`` while the context lasts."""
        if progress is None:
            yield
            return
        self._listeners.append(progress)
        try:
            yield
        finally:
            self._listeners.remove(progress)

    def submitted(self, count: int) -> None:
        """So many more tasks are stored."""
        for one in tuple(self._listeners):
            one.submitted(count)

    def finished(self, count: int, failed: int) -> None:
        """So many more tasks have ended."""
        for one in tuple(self._listeners):
            one.finished(count, failed)


async def map_ordered(
    inputs: Iterable[Value],
    *,
    submit: Callable[[Value], asyncio.Future[Value]],
    window: int,
) -> AsyncGenerator[Value, None]:
    """Submit inputs, no more than ``window`` ahead of what was yielded, and yield results in the order of the inputs."""
    waiting: deque[asyncio.Future[Value]] = deque()
    try:
        for value in inputs:
            waiting.append(submit(value))
            while len(waiting) >= window or (waiting and waiting[0].done()):
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()
