"""What a gateway reads: the outputs of one session from a client's cursor on, each exactly as every other gateway shows it.

A cursor names the record that gave the last output, so a follower attaches there and checks the record's message id. When it is not there
any more (trimmed, or lost with a broker), or the records show that this reader did not come the right way, the follower reads again from
a sound place and rebases the cursor by the session's history of epochs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from broker.errors import BrokerError
from broker.journal.fold import NO_EPOCH, Fold, JournalRecord, Verdict, rebase
from broker.journal.view import JournalView, NotProvenError, Step, begin_soundly, journal_name
from broker.link import Broker
from schemas.cursors import Cursor
from schemas.ids import Position, SessionId
from schemas.records import Outputs, RecordKind, TaskOutput

__all__ = ["CursorAheadError", "CursorExpiredError", "Follower", "JournalRewrittenError", "VisibleOutputs", "follow"]

_SETTLE_SECONDS: Final = 5.0
"""How long a reader that has to read again waits for a new epoch's first snapshot or for a journal that is behind."""


class CursorAheadError(BrokerError):
    """Raised when the journal is behind the cursor: records were lost, and the owner has to begin a new epoch above the cursor's."""


class CursorExpiredError(Exception):
    """Raised when outputs at the cursor were acknowledged and are no longer kept."""


class JournalRewrittenError(BrokerError):
    """Raised when outputs that were handed out were lost and their numbers used again: open a follower at the client's own cursor."""


class VisibleOutputs(msgspec.Struct, frozen=True, kw_only=True):
    """One record of visible outputs, numbered ``first``, ``first + 1`` and so on."""

    first: int
    num: int
    nonce: bytes
    at: Position
    outputs: list[TaskOutput]
    size: int
    """Bytes of the record."""

    @property
    def end(self) -> int:
        """The number behind the last output."""
        return self.first + len(self.outputs)

    def cursor(self, position: int) -> Cursor:
        """Return the cursor of a client whose next output is ``position``, which must be in (first, end]."""
        return Cursor(num=self.num, nonce=self.nonce, next=position, at=self.at)


class Follower:
    """One reader of one session's journal. Not safe for concurrent use.

    Args:
        broker: Where the journal is.
        session: Which session.
        cursor: Where its client stands.
        trusting: Whether a record that is still where the cursor says proves the cursor. It does, unless a reader showed it after others
            that were lost meanwhile; who has found that out by ``JournalRewrittenError`` opens the next follower without trust.
    """

    def __init__(self, *, broker: Broker, session: SessionId, cursor: Cursor, trusting: bool = True) -> None:
        self.start = cursor.next
        self.rewound = False
        self._session = session
        self._cursor = cursor
        self._trusting = trusting
        self._pending: list[VisibleOutputs] = []
        self._gap_seen = NO_EPOCH
        self._view = JournalView(broker=broker, queue=journal_name(session.cluster, session.lane), fold=Fold(session.sid))

    @property
    def fold(self) -> Fold:
        """The session's state as far as it was read."""
        return self._view.fold

    async def read(self, within: float | None) -> list[VisibleOutputs]:
        """Return new outputs, behind those returned before; none after ``within`` seconds or when only the session's state changed.

        Raises:
            BrokerError: The reader was lost; open a new one.
            CursorAheadError: The journal is behind the cursor.
            CursorExpiredError: Outputs at the cursor are no longer kept.
            JournalRewrittenError: Outputs returned before were lost.
        """
        if self._pending:
            ready, self._pending = self._pending, []
            return self._hand_out(ready)
        steps = await self._view.read(within)
        for index, step in enumerate(steps):
            if step.verdict is Verdict.REREAD or (step.verdict is Verdict.GAP and self._new_gap()):
                return await self._again(steps[:index])
        return self._hand_out(self._visible(steps))

    def _hand_out(self, ready: list[VisibleOutputs]) -> list[VisibleOutputs]:
        """From here on this reader stands behind what it returns: should it have to read again, that is what has to be rebased."""
        if ready:
            last = ready[-1]
            self._cursor, self.start = last.cursor(last.end), last.end
        return ready

    def _new_gap(self) -> bool:
        """A gap ends with the next epoch, so one look back at each is enough; ``fold.gap`` stays true until then."""
        epoch = (self.fold.num, self.fold.nonce)
        known, self._gap_seen = self._gap_seen == epoch, epoch
        return not known

    async def _again(self, good: list[Step]) -> list[VisibleOutputs]:
        """This reader did not come the right way, or a gap stands before it: what was read so far holds, the rest is read again."""
        ready = self._hand_out(self._visible(good))
        stood = self.start
        await self._reread()
        if self.start < stood:
            raise JournalRewrittenError("outputs that were shown were lost and their numbers used again")
        return ready or await self.read(0)

    async def _begin(self) -> None:
        """Attach where the cursor stands, or where the session began."""
        try:
            if not self._trusting:
                await self._reread()
                return
            if self._cursor.at is None:
                await self._view.begin(self._session.born)
                return
            record = await self._view.begin_at(self._cursor.at)
        except NotProvenError:
            await self._reread()
            return
        if _names(self._cursor, self._session.sid, record):
            self._view.fold = Fold.at_outputs(record)
        else:
            await self._reread()

    async def _reread(self) -> None:
        """Fold from a sound place to today's end, rebase the cursor, then read from a sound place before it."""
        async with asyncio.timeout(_SETTLE_SECONDS * 4):
            position = await self._rebased()
        self.rewound = self.rewound or position < self._cursor.next
        self.start = position
        await self._open(at_most=position)

    async def _rebased(self) -> int:
        while True:
            await begin_soundly(self._view, self._session.born)
            await self._read_to_end()
            fold = self.fold
            if fold.open or fold.ended or not fold.num:
                position = rebase(fold, self._cursor.num, self._cursor.nonce, self._cursor.next)
                if position is None or position > fold.next:
                    raise CursorAheadError("the journal is behind this cursor; its owner has been told")
                return position
            # Between a mark and its first snapshot nobody can say where a cursor stands; the owner is writing it right now.
            await self._view.read(_SETTLE_SECONDS)

    async def _read_to_end(self) -> None:
        end = self._view.lenient_until
        while self._view.last is None or self._view.last.offset < end:
            if end < 0 or not await self._view.read(_SETTLE_SECONDS):
                return

    async def _open(self, *, at_most: int) -> None:
        """Begin at a place whose next number is not above ``at_most``."""
        self._pending = []
        await begin_soundly(self._view, self._session.born)
        await self._past_floating()
        if self.fold.began > at_most:
            end = self._view.lenient_until
            self._pending = []
            await self._open_earliest()
            self._view.lenient_until = end
            await self._past_floating()
        if self.fold.began > at_most:
            raise CursorExpiredError(f"outputs before {self.fold.began} are no longer kept")

    async def _open_earliest(self) -> None:
        self._view.fold = Fold(self._session.sid)
        try:
            await self._view.begin(self._session.born)
        except NotProvenError:
            self._view.fold = Fold(self._session.sid, anywhere=True)
            await self._view.begin_first()

    async def _past_floating(self) -> None:
        """Read until a snapshot has told where this is; what follows it in the same read is kept."""
        while self.fold.floating and (self._view.last is None or self._view.last.offset < self._view.lenient_until):
            steps = await self._view.read(_SETTLE_SECONDS)
            if not steps and self._view.last is None:
                return
            self._pending.extend(self._visible(steps))

    def _visible(self, steps: list[Step]) -> list[VisibleOutputs]:
        return [visible for step in steps if step.verdict is Verdict.VISIBLE and (visible := _outputs(step.record)).end > self.start]


def _names(cursor: Cursor, sid: bytes, record: JournalRecord) -> bool:
    """Whether this record is the one of outputs that holds the output before the cursor's position."""
    headers = record.headers
    same = (headers.sid, headers.num, headers.nonce) == (sid, cursor.num, cursor.nonce)
    return same and headers.kind is RecordKind.OUTS and headers.first < cursor.next <= headers.first + headers.count


def _outputs(record: JournalRecord) -> VisibleOutputs:
    body = record.body()
    outputs = body.outputs if isinstance(body, Outputs) else []
    headers = record.headers
    return VisibleOutputs(first=headers.first, num=headers.num, nonce=headers.nonce, at=record.position, outputs=outputs, size=len(record.raw))


@asynccontextmanager
async def follow(broker: Broker, session: SessionId, cursor: Cursor, *, trusting: bool = True) -> AsyncIterator[Follower]:
    """Open a follower that begins at the cursor; see ``Follower``.

    Raises:
        BrokerError: The journal cannot be read at the moment.
        CursorAheadError: The journal is behind the cursor.
        CursorExpiredError: Outputs at the cursor are no longer kept.
    """
    follower = Follower(broker=broker, session=session, cursor=cursor, trusting=trusting)
    async with follower._view:  # noqa: SLF001 - the follower's own resource, entered here so that it cannot be used unentered
        await follower._begin()  # noqa: SLF001 - as above
        yield follower
