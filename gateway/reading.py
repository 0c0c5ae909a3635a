"""Warm journal readers: one stays open for each place where a session is being polled, so that a poll is a look into memory."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from broker.errors import BrokerError
from broker.journal.fold import Fold
from broker.journal.follower import CursorExpiredError, Follower, JournalRewrittenError, VisibleOutputs, follow
from broker.link import Broker
from runtime.logs import get_logger
from schemas.cursors import Cursor
from schemas.ids import SessionId
from schemas.records import TaskOutput

__all__ = ["Numbered", "Reader", "ReaderLostError"]

_PER_OUTPUT: Final = 160
"""Bytes of memory and of answer that an output takes beside its payload."""


class ReaderLostError(Exception):
    """Raised when a reader ended under its poll: open another one.

    Args:
        rewritten: Outputs that it had shown were lost: the next one must not trust the cursor's record.
    """

    def __init__(self, *, rewritten: bool = False) -> None:
        super().__init__("the reader was lost")
        self.rewritten = rewritten


class Numbered(NamedTuple):
    """An output with its sequence number and the record that holds it."""

    number: int
    output: TaskOutput
    record: VisibleOutputs


class Reader:
    """Reads one session's journal ahead from a client's cursor, into a bounded buffer.

    Args:
        broker: Where the journal is.
        session: Which session.
        cursor: Where its client stands.
        room: Bytes that may be buffered; beyond that the journal waits.
        on_change: Called with the difference in bytes whenever the buffer changes.
        trusting: As for the follower.
    """

    def __init__(self, *, broker: Broker, session: SessionId, cursor: Cursor, room: int, on_change: Callable[[int], None], trusting: bool = True) -> None:
        self.session = session
        self.anchor = cursor
        self.rewound = False
        self.bytes = 0
        self.pins = 0
        self.used_at = 0.0
        self.touched_at = -math.inf
        """When the session's owner was last told that somebody waits here."""
        self.failure: Exception | None = None
        self._broker = broker
        self._room = room
        self._trusting = trusting
        self._on_change = on_change
        self._follower: Follower | None = None
        self._buffer: list[VisibleOutputs] = []
        self._firsts: list[int] = []
        self._start = cursor.next
        self._passed = 0
        """Bytes of the first buffered record once its client is past it: it stays to prove the cursor, and takes no room from those behind it."""
        self._changed: asyncio.Event = asyncio.Event()
        self._wanted = asyncio.Event()
        self._log = get_logger(__name__)

    @property
    def opened(self) -> bool:
        """Whether the journal is attached."""
        return self._follower is not None

    def lost(self) -> ReaderLostError:
        """Return what a poll of this failed reader ends with."""
        return ReaderLostError(rewritten=isinstance(self.failure, JournalRewrittenError))

    @property
    def fold(self) -> Fold:
        """The session's state as far as it was read.

        Raises:
            ReaderLostError: Not attached yet.
        """
        if self._follower is None:
            raise ReaderLostError
        return self._follower.fold

    async def run(self) -> None:
        """Read until cancelled or lost; why it ended is in ``failure``."""
        try:
            async with follow(self._broker, self.session, self.anchor, trusting=self._trusting) as follower:
                self._start, self.rewound = follower.start, follower.rewound
                self._follower = follower
                self.wake()
                while True:
                    await self._follow_on(follower)
        except (BrokerError, CursorExpiredError, TimeoutError, ReaderLostError) as exc:
            self.failure = exc
        except Exception as exc:  # noqa: BLE001 - the edge of a background task
            self._log.exception("journal reader failed", lane=self.session.lane, cluster=self.session.cluster)
            self.failure = exc
        finally:
            if self.failure is None:
                self.failure = ReaderLostError()
            self.release()
            self.wake()

    async def _follow_on(self, follower: Follower) -> None:
        while self.bytes - self._passed > self._room:
            self._wanted.clear()
            await self._wanted.wait()
        news = await follower.read(None)
        for record in news:
            self._buffer.append(record)
            self._firsts.append(record.first)
            self._grow(_weight(record))
        self.wake()

    def covers(self, cursor: Cursor) -> bool:
        """Whether this reader stands, or can go, exactly where the cursor says."""
        if self.failure is not None:
            return False
        if cursor == self.anchor:
            return not self._buffer or self._buffer[0].first <= self._start
        record = self._holder(cursor.next - 1)
        return record is not None and record.cursor(cursor.next) == cursor

    def position(self, cursor: Cursor) -> tuple[int, bool]:
        """Return the number of the first output behind a covered cursor, and whether the client has been sent back."""
        return (self._start, self.rewound) if cursor == self.anchor else (cursor.next, False)

    def forget_before(self, cursor: Cursor) -> None:
        """Drop what the client has acknowledged by coming back with this cursor; the record that the cursor names stays."""
        if cursor != self.anchor:
            surplus = max(0, bisect_right(self._firsts, cursor.next - 1) - 1)
            dropped = self._buffer[:surplus]
            del self._buffer[:surplus], self._firsts[:surplus]
            if dropped:
                self._passed = 0
            if self._buffer and self._buffer[0].end <= cursor.next:
                self._passed = _weight(self._buffer[0])
            self._grow(-sum(_weight(record) for record in dropped))
        self._wanted.set()

    def take(self, position: int, count: int, limit: int) -> list[Numbered]:
        """Return up to ``count`` outputs from ``position`` on, of ``limit`` bytes together; one at least, when there is one.

        Raises:
            ReaderLostError: Another client of the session has acknowledged the output at ``position``, so this reader has let go of it.
        """
        if self._buffer and self._buffer[0].first > position:
            raise ReaderLostError
        taken: list[Numbered] = []
        size = 0
        for index in range(max(0, bisect_right(self._firsts, position) - 1), len(self._buffer)):
            record = self._buffer[index]
            for number, output in enumerate(record.outputs[max(0, position - record.first) :], max(position, record.first)):
                size += _PER_OUTPUT + len(output.payload or b"")
                if len(taken) == count or (taken and size > limit):
                    return taken
                taken.append(Numbered(number, output, record))
        return taken

    def find(self, task_id: bytes) -> Numbered | None:
        """Return a buffered output by its task's id."""
        for record in self._buffer:
            for number, output in enumerate(record.outputs, record.first):
                if output.task_id == task_id and number >= self._start:
                    return Numbered(number, output, record)
        return None

    def has(self, position: int) -> bool:
        """Whether the output with this number is there."""
        return bool(self._buffer) and position < self._buffer[-1].end

    @property
    def change(self) -> asyncio.Event:
        """Set at the next change; each change gets an event of its own, so that nobody has to clear it."""
        return self._changed

    def wake(self) -> None:
        """Let every poll that waits for a change look again."""
        former, self._changed = self._changed, asyncio.Event()
        former.set()

    def release(self) -> None:
        """Give the buffer up."""
        self._buffer.clear()
        self._firsts.clear()
        self._passed = 0
        self._grow(-self.bytes)

    def _holder(self, number: int) -> VisibleOutputs | None:
        index = bisect_right(self._firsts, number) - 1
        record = self._buffer[index] if index >= 0 else None
        return record if record is not None and number < record.end else None

    def _grow(self, count: int) -> None:
        self.bytes += count
        self._on_change(count)


def _weight(record: VisibleOutputs) -> int:
    return record.size + _PER_OUTPUT * len(record.outputs)
