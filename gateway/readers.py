"""The warm readers of this gateway: found by session and cursor, closed least recently used above a budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from broker.errors import BrokerError
from broker.journal.follower import CursorAheadError, CursorExpiredError
from broker.link import Broker
from gateway.problems import ProblemError
from gateway.reading import Reader, ReaderLostError
from gateway.settings import Limits
from schemas.cursors import Cursor
from schemas.ids import SessionId

__all__ = ["Readers", "reader_problem"]

_OPEN_SECONDS: Final = 4.5
"""Below the 5 s in which a client shall hear that the broker is away."""

_PER_SESSION: Final = 4
"""Clients at different places in one session have readers of their own, up to this many."""

_SWEEP_SECONDS: Final = 5.0
_UNREADABLE: Final = "the session's journal cannot be read at the moment"


def reader_problem(failure: Exception | None) -> Exception:
    """Return what a poll fails with when its reader could not be opened."""
    match failure:
        case CursorExpiredError():
            return ProblemError("cursor-expired")
        case CursorAheadError():
            return ProblemError("owner-unavailable", "records behind this cursor were lost; the session's owner is making them again")
        case TimeoutError():
            return ProblemError("owner-unavailable")
        case ReaderLostError():
            # Another poll, or the budget, gave it up while it was still being opened.
            return ProblemError("broker-unavailable", _UNREADABLE)
        case BrokerError():
            return failure
        case _:
            return ProblemError("internal-error")


class Readers:
    """Opens and closes readers.

    Args:
        broker: Where journals are.
        limits: Budgets.
        spawn: Starts a coroutine in the process' task group.
    """

    def __init__(self, *, broker: Broker, limits: Limits, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._broker = broker
        self._limits = limits
        self._spawn = spawn
        self._readers: dict[bytes, list[Reader]] = {}
        self._tasks: dict[Reader, asyncio.Task[None]] = {}
        self.bytes = 0

    @property
    def count(self) -> int:
        """How many readers are open."""
        return len(self._tasks)

    def of(self, session: SessionId) -> Iterator[Reader]:
        """Yield the session's open readers."""
        return (reader for reader in self._readers.get(session.sid, ()) if reader.opened and reader.failure is None)

    @asynccontextmanager
    async def reading(self, session: SessionId, cursor: Cursor, *, trusting: bool = True) -> AsyncIterator[tuple[Reader, bool]]:
        """Hand out a reader that covers the cursor, and whether it was opened just now; ``trusting`` as for the follower.

        Raises:
            ProblemError: ``cursor-expired``, ``owner-unavailable``.
            BrokerError: The journal cannot be read at the moment.
        """
        reader = self._find(session, cursor)
        fresh = reader is None
        if reader is None:
            reader = self._open(session, cursor, trusting=trusting)
        reader.pins += 1
        try:
            await self._attached(reader)
            yield reader, fresh
        finally:
            reader.pins -= 1
            reader.used_at = asyncio.get_running_loop().time()

    async def keep_within_budget(self) -> None:
        """Close what nobody has polled for a while, and the least recently polled when there is too much; runs until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            oldest = asyncio.get_running_loop().time() - self._limits.reader_idle_seconds
            for reader in [reader for reader in self._tasks if not reader.pins and reader.used_at < oldest]:
                self._close(reader)
            self._shrink()

    def wake(self) -> None:
        """Let every waiting poll look again."""
        for reader in self._tasks:
            reader.wake()

    def _find(self, session: SessionId, cursor: Cursor) -> Reader | None:
        return next((reader for reader in self._readers.get(session.sid, ()) if reader.covers(cursor)), None)

    def _open(self, session: SessionId, cursor: Cursor, *, trusting: bool) -> Reader:
        mine = self._readers.setdefault(session.sid, [])
        if len(mine) >= _PER_SESSION:
            idle = sorted((reader for reader in mine if not reader.pins), key=lambda reader: reader.used_at)
            if not idle:
                raise ProblemError("too-many-requests", "this session is being polled at too many places at once")
            self._close(idle[0])
        self._shrink()
        reader = Reader(
            broker=self._broker,
            session=session,
            cursor=cursor,
            room=self._limits.session_reader_bytes,
            on_change=self._count,
            trusting=trusting,
        )
        self._readers.setdefault(session.sid, []).append(reader)
        self._tasks[reader] = self._spawn(self._run(reader))
        return reader

    async def _run(self, reader: Reader) -> None:
        try:
            await reader.run()
        finally:
            self._drop(reader)

    async def _attached(self, reader: Reader) -> None:
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                while not reader.opened and reader.failure is None:
                    await reader.change.wait()
        except TimeoutError as exc:
            self._close(reader)
            raise ProblemError("broker-unavailable", _UNREADABLE) from exc
        if reader.failure is not None:
            raise reader.lost() if reader.opened else reader_problem(reader.failure) from reader.failure

    def _shrink(self) -> None:
        """E5: least recently used first; readers that are being polled stay."""
        if self.bytes <= self._limits.reader_bytes and len(self._tasks) < self._limits.readers:
            return
        for reader in sorted((reader for reader in self._tasks if not reader.pins), key=lambda reader: reader.used_at):
            if self.bytes <= self._limits.reader_bytes and len(self._tasks) < self._limits.readers:
                return
            self._close(reader)
        if len(self._tasks) >= self._limits.readers:
            raise ProblemError("overloaded", "too many sessions are being polled here")

    def _close(self, reader: Reader) -> None:
        task = self._tasks.get(reader)
        self._drop(reader)
        if task is not None:
            task.cancel()
        # Its bytes count as free from now on, although the task gives them up a moment later.
        reader.release()

    def _drop(self, reader: Reader) -> None:
        self._tasks.pop(reader, None)
        mine = self._readers.get(reader.session.sid, [])
        if reader in mine:
            mine.remove(reader)
        if not mine:
            self._readers.pop(reader.session.sid, None)

    def _count(self, difference: int) -> None:
        self.bytes += difference
