"""One poll: the outputs behind a cursor, at once or when some come, and the cursor behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from broker.journal.follower import CursorAheadError
from gateway.acknowledging import Acknowledger
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.reading import Numbered, Reader, ReaderLostError
from schemas.cursors import Cursor
from schemas.ids import SessionId
from schemas.problems import PROBLEMS

__all__ = ["Page", "Poll", "Polling"]

_SETTLE_SECONDS: Final = 0.05
"""How long a reader that was just opened may stay silent before its journal counts as read."""

_FIRST_SECONDS: Final = 0.5
"""How long it gets for its first record: attaching was measured at 13 to 36 ms."""

_SETTLE_AT_MOST: Final = 1.0
_GAP_SECONDS: Final = 2.0
_ATTEMPTS: Final = 3


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    ``until`` is the event loop's time up to which a poll without outputs waits; ``acknowledge`` says that passing the cursor means
    having everything before it.
    """

    session: SessionId
    cursor: Cursor
    count: int
    limit: int
    until: float
    acknowledge: bool = True


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered."""

    outputs: Sequence[Numbered]
    cursor: Cursor
    more: bool
    ended: bool
    rewound: bool


class Polling:
    """Answers polls from warm readers.

    Args:
        readers: The readers.
        acknowledger: Tells owners.
        draining: Whether this gateway is shutting down: no poll waits any more.
    """

    def __init__(self, *, readers: Readers, acknowledger: Acknowledger, draining: Callable[[], bool]) -> None:
        self._readers = readers
        self._acknowledger = acknowledger
        self._draining = draining

    async def poll(self, poll: Poll) -> Page:
        """Return the next page.

        Raises:
            ProblemError: The session was refused, the cursor is too old, or nobody can tell at the moment.
            BrokerError: The journal cannot be read at the moment.
        """
        trusting = True
        for attempt in range(_ATTEMPTS):
            try:
                async with self._readers.reading(poll.session, poll.cursor, trusting=trusting) as (reader, fresh):
                    return await self._from(reader, poll, fresh=fresh)
            except ReaderLostError as exc:
                trusting = trusting and not exc.rewritten
                # A warm reader ended, most often because its connection did: the next one is opened at the client's own cursor.
                await asyncio.sleep(0.1 * attempt)
            except ProblemError as exc:
                if isinstance(exc.__cause__, CursorAheadError):
                    self._acknowledger.tell_ahead(poll.session, poll.cursor)
                raise
        raise ProblemError("broker-unavailable", "the session's journal cannot be read at the moment")

    async def _from(self, reader: Reader, poll: Poll, *, fresh: bool) -> Page:
        position, rewound = reader.position(poll.cursor)
        if poll.acknowledge:
            reader.forget_before(poll.cursor)
        if fresh:
            await self._settle(reader, position, poll.count)
        if poll.acknowledge:
            self._acknowledger.note(reader, poll.cursor)
        while True:
            change = reader.change
            if reader.failure is not None:
                raise reader.lost()
            taken = reader.take(position, poll.count, poll.limit)
            ended = _ended(reader, position)
            remaining = poll.until - asyncio.get_running_loop().time()
            if taken or ended or remaining <= 0 or self._draining():
                break
            await self._wait(reader, change, remaining)
        return _page(reader, poll, taken, position, rewound=rewound)

    async def _wait(self, reader: Reader, change: asyncio.Event, remaining: float) -> None:
        gap = reader.fold.gap
        try:
            async with asyncio.timeout(min(remaining, _GAP_SECONDS) if gap else remaining):
                await change.wait()
        except TimeoutError:
            if gap and reader.failure is None:
                self._acknowledger.tell_doubt(reader)

    async def _settle(self, reader: Reader, position: int, count: int) -> None:
        """Give a reader that was just opened time to read what lies there, so that every gateway answers a cursor alike."""
        loop = asyncio.get_running_loop()
        patience, end = _FIRST_SECONDS, loop.time() + _SETTLE_AT_MOST
        try:
            while reader.failure is None and loop.time() < end and not reader.has(position + count) and not reader.fold.ended:
                change = reader.change
                async with asyncio.timeout(patience):
                    await change.wait()
                patience = _SETTLE_SECONDS
        except TimeoutError:
            return


def _ended(reader: Reader, position: int) -> bool:
    """Whether the session is closed and everything before ``position`` was all it had.

    Raises:
        ProblemError: The session was refused.
    """
    fold = reader.fold
    if fold.refused is not None:
        code = fold.refused.code
        raise ProblemError(code if code in PROBLEMS else "session-refused", fold.refused.message)
    return fold.closed is not None and position > fold.closed.last


def _page(reader: Reader, poll: Poll, taken: Sequence[Numbered], position: int, *, rewound: bool) -> Page:
    end = taken[-1].number + 1 if taken else position
    return Page(
        outputs=taken,
        cursor=taken[-1].record.cursor(end) if taken else poll.cursor,
        more=reader.has(end),
        ended=_ended(reader, end),
        rewound=rewound,
    )
