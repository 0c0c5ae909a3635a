"""Reads a session's outputs by cursor, each task once."""

from __future__ import annotations

import asyncio
from collections import deque

from sluiceway.errors import ProtocolError
from sluiceway.fields import UnreadableError
from sluiceway.http.transport import Call, Transport
from sluiceway.records import FetchAnswer, TaskOutputItem

__all__ = ["OutputReader"]

_COUNT_MAX = 10_000
_BREATH = 0.05
"""Seconds between two empty polls that the gateway did not hold open."""


class OutputReader:
    """The place of one client in one session's outputs.

    The cursor of a run is passed back, which acknowledges the run, only when another run is asked for: by then the caller has
    taken every output of it. Task ids that came before are dropped, so that outputs which were lost with a broker and made again
    (``rewound``) are not seen twice.

    Args:
        transport: Carries the calls.
        path: Of the session.
        cursor: Where to begin.
    """

    def __init__(self, *, transport: Transport, path: str, cursor: str) -> None:
        self._transport = transport
        self._path = f"{path}/outputs"
        self._cursor = cursor
        self._next = cursor
        self._acknowledged = cursor
        self._ready: deque[TaskOutputItem] = deque()
        self._seen: set[str] = set()
        self._more = False
        self._polled_at = float("-inf")
        self._polling = 0
        # Two polls with one cursor would both move it: whoever comes second waits, and finds what the first one brought.
        self._lock = asyncio.Lock()
        self.ended = False
        """The session is closed and all its outputs were taken."""
        self.rewinds = 0
        """How often outputs were lost with a broker and made again."""

    @property
    def cursor(self) -> str:
        """Behind the last run of outputs that was taken whole: store it to go on from here after a crash."""
        return self._cursor if self._ready else self._next

    async def fill(self, *, limit: int, wait: float) -> None:
        """Fetch a run of up to ``limit`` outputs unless some are here; waits up to ``wait`` seconds for the first.

        Raises:
            SluicewayError: As ``Transport.call``.
        """
        async with self._lock:
            if not self._ready and not self.ended:
                await self._fetch(min(limit, _COUNT_MAX), wait)

    def take(self) -> TaskOutputItem | None:
        """Return the next of the outputs that are here; None when they are all taken."""
        return self._ready.popleft() if self._ready else None

    def put_back(self, items: list[TaskOutputItem]) -> None:
        """Take outputs back that were taken and not used; they come first again."""
        self._ready.extendleft(reversed(items))

    async def read(self, *, limit: int, wait: float) -> list[TaskOutputItem]:
        """Return the next outputs, up to ``limit``; an empty list when none came within ``wait`` seconds.

        Raises:
            SluicewayError: As ``Transport.call``.
        """
        await self.fill(limit=limit, wait=wait)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    @property
    def more(self) -> bool:
        """Whether outputs are there already, here or at the gateway."""
        return bool(self._ready) or self._more

    async def acknowledge(self) -> None:
        """Tell the gateway that everything taken so far is safe with the caller."""
        async with self._lock:
            # The poll's own output, if any, is not taken: fetching never takes anything away.
            if not self._ready and self._acknowledged != self._next:
                await self._poll(1, 0.0)

    def quiet_for(self, now: float) -> float:
        """Return for how many seconds of the event loop's clock no poll was under way."""
        return 0.0 if self._polling else now - self._polled_at

    async def _poll(self, limit: int, wait: float) -> FetchAnswer:
        cursor = self._next
        query = {"countMax": str(limit), "after": cursor, "wait": f"{wait:g}"}
        self._polling += 1
        try:
            answer = await self._transport.call(Call(method="GET", path=self._path, query=query, wait=wait))
        finally:
            self._polling -= 1
            self._polled_at = asyncio.get_running_loop().time()
        try:
            fetched = FetchAnswer.read(answer.value())
        except UnreadableError as exc:
            raise ProtocolError(str(exc)) from exc
        self._acknowledged = cursor
        return fetched

    async def _fetch(self, limit: int, wait: float) -> None:
        started = asyncio.get_running_loop().time()
        answer = await self._poll(limit, wait)
        self._cursor, self._next = self._next, answer.cursor
        self._more, self.ended = answer.more, answer.ended
        self.rewinds += answer.rewound
        for item in answer.outputs:
            if item.task_id not in self._seen:
                self._seen.add(item.task_id)
                self._ready.append(item)
        # A gateway that is told to drain, or does not know long polls, answers at once: do not spin.
        if wait and not answer.outputs and not answer.ended and asyncio.get_running_loop().time() - started < _BREATH:
            await asyncio.sleep(_BREATH)
