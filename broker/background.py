"""One task that lives as long as the block of the resource that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType

__all__ = ["Background"]


class Background:
    """A task group of one endless task, for resources that are asynchronous context managers themselves.

    A failure of the task ends the block, as task groups do. An error of the block leaves it as it is: task groups would wrap it, and
    nobody could catch a ``BrokerError`` around ``async with Broker(...)`` any more.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def start(self, work: Coroutine[None, None, None], *, name: str) -> None:
        """Begin."""
        await self._group.__aenter__()
        self._task = self._group.create_task(work, name=name)

    async def stop(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Cancel the task and wait until it has ended; takes what ``__aexit__`` is given."""
        if self._task is not None:
            self._task.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)
