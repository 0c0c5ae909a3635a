"""A fold kept up to date by a stream reader: how owners and gateways look at a session's journal.

An offset counts only if the record there still has the message id that was remembered: a broker that lost the tail of a stream fills the
same offsets with other records. ``prove`` reads again what was read, so everything folded before is known to be still there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from broker.errors import BrokerError, BrokerUnavailableError
from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, JournalRecord, Verdict, parse_record
from broker.journal.stream import StreamReader, StreamRecord, last_records
from broker.link import Broker
from schemas.ids import Position
from schemas.records import RecordBody, RecordHeaders, RecordKind
from schemas.topology import ClusterTopology

__all__ = ["JournalView", "NotProvenError", "Step", "begin_soundly", "journal_name", "newest_scan"]

_PROOF_SECONDS: Final = 3.0
"""A record that exists is delivered within some 30 ms of attaching; one that was lost never comes."""


class NotProvenError(BrokerError):
    """Raised when the record at a remembered place is not the one that was remembered: read again from a sound place."""


class Step(msgspec.Struct, frozen=True):
    """One record and what the fold made of it."""

    record: JournalRecord
    verdict: Verdict
    before: Position | None = None
    """The record that was read just before it, of whichever session."""


def journal_name(cluster: str, lane: int) -> str:
    """Return the name of a lane's stream."""
    return ClusterTopology(cluster=cluster).lane_journal(lane).name


def newest_scan(tail: list[StreamRecord], sid: bytes) -> Position | None:
    """Return where the session's newest owner says that reading may start, as far as the journal's tail tells."""
    records = [record for raw in tail if (record := parse_record(raw)) is not None and record.headers.sid == sid]
    best = max(records, key=lambda record: (record.headers.num, record.headers.pub), default=None)
    return best.headers.scan if best is not None else None


class JournalView:
    """A fold and the reader that feeds it. An asynchronous context manager; not safe for concurrent use.

    Args:
        broker: Where the journal is.
        queue: The lane's stream.
        fold: The state at the place where reading begins.
    """

    def __init__(self, *, broker: Broker, queue: str, fold: Fold) -> None:
        self.fold = fold
        self.last: Position | None = None
        """The last record read since the view began."""
        self.lenient_until = -1
        self.published: Callable[[RecordHeaders], RecordBody | None] | None = None
        """For an owner: tells the bodies that it has published itself."""
        self._broker = broker
        self._queue = queue
        self._reader: StreamReader | None = None
        self._stack = AsyncExitStack()
        self._held: list[StreamRecord] = []
        self._trail: deque[Position] = deque()
        """What was read since the last proof, in order; the first is proven."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def begin(self, born: Position | None) -> None:
        """Attach behind ``born``, the last record before the session; None: at the journal's first record.

        Raises:
            NotProvenError: The record was trimmed or lost.
            BrokerError: The journal cannot be read at the moment.
        """
        self._restart()
        if born is not None:
            await self._attach_proven(born)
            self.last = born
            self._trail.append(born)
            return
        if not await self.tail():
            await self._attach("first")
            return
        # Born in an empty journal: whatever is kept must still begin with the very first record.
        await self._attach(0)
        self._held = await self._first_records()
        if not self._held:
            raise BrokerUnavailableError(f"{self._queue} holds records and delivers none")
        if self._held[0].offset != 0:
            raise NotProvenError(f"the beginning of {self._queue} was trimmed")

    async def begin_at(self, place: Position) -> JournalRecord:
        """Attach at a proven record and return it, not yet folded.

        Raises:
            NotProvenError: Another record is there, or none.
            BrokerError: The journal cannot be read at the moment.
        """
        self._restart()
        raw = await self._attach_proven(place)
        record = parse_record(raw)
        if record is None:
            raise NotProvenError(f"the record at {place.offset} of {self._queue} cannot be read")
        self._held.insert(0, raw)
        return record

    async def begin_first(self) -> None:
        """Attach at the first record that is still kept."""
        self._restart()
        await self._attach("first")

    async def prove(self) -> None:
        """Read again, beside the reader, what was read since the last proof: every record is still there, and nothing stands between them.

        A reader that the broker re-opened without a word may have stepped over a stretch that was lost and filled again, so the newest
        record alone proves nothing. What is proven is forgotten up to its last record, from which the next proof begins.

        Raises:
            NotProvenError: The journal holds something else; what was believed visible may be lost.
            BrokerError: The journal cannot be read at the moment.
        """
        expected = deque(self._trail)
        if not expected:
            return
        newest = expected[-1]
        async with StreamReader.attach(self._broker, self._queue, expected[0].offset) as reader:
            while expected:
                records = await reader.read(_PROOF_SECONDS)
                if not records:
                    raise NotProvenError(f"the records from {expected[0].offset} on of {self._queue} are not there any more")
                for record in records[: len(expected)]:
                    _expect(self._queue, expected.popleft(), record)
        self._forget_before(newest)

    def vouch(self, place: Position) -> bool:
        """Let the next proof begin at ``place``: a client has acknowledged everything up to it, as a gateway read it there.

        Returns:
            False when this reader has seen another record there.
        """
        if not self._trail or place.offset < self._trail[0].offset:
            return True
        index = place.offset - self._trail[0].offset
        if index >= len(self._trail) or self._trail[index] != place:
            return False
        self._forget_before(place)
        return True

    def _restart(self) -> None:
        self.last = None
        self._trail.clear()

    def _forget_before(self, place: Position) -> None:
        while self._trail and self._trail[0].offset < place.offset:
            self._trail.popleft()

    async def check(self, place: Position) -> None:
        """Look, beside the reader, whether a record is still where it was.

        Raises:
            NotProvenError: It is not: what was folded up to there is not what the journal holds.
            BrokerError: The journal cannot be read at the moment.
        """
        async with StreamReader.attach(self._broker, self._queue, place.offset) as reader:
            records = await reader.read(_PROOF_SECONDS)
            _expect(self._queue, place, records[0] if records else None)

    async def read(self, within: float | None) -> list[Step]:
        """Fold what has come; wait up to ``within`` seconds (None: for ever) for at least one record.

        Raises:
            BrokerError: The reader was lost; ``prove`` or begin again.
        """
        if self._reader is None:
            raise BrokerError("the journal is not attached")
        raw = self._held or await self._reader.read(within)
        self._held = []
        return [step for record in raw if (step := self._fold(record)) is not None]

    async def tail(self) -> list[StreamRecord]:
        """Return the journal's last chunk; empty when the journal is empty."""
        return await last_records(self._broker, self._queue)

    def _fold(self, raw: StreamRecord) -> Step | None:
        before, self.last = self.last, Position(raw.offset, raw.message_id)
        self._trail.append(self.last)
        record = parse_record(raw, self.published)
        if record is None:
            return None
        verdict = self.fold.step(record, lenient=raw.offset <= self.lenient_until)
        return Step(record, verdict, before)

    async def _attach(self, at: int | Literal["first"]) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()
        self._reader, self._held = None, []
        self._reader = await self._stack.enter_async_context(StreamReader.attach(self._broker, self._queue, at))

    async def _first_records(self) -> list[StreamRecord]:
        return await self._reader.read(_PROOF_SECONDS) if self._reader is not None else []

    async def _attach_proven(self, place: Position) -> StreamRecord:
        await self._attach(place.offset)
        records = await self._first_records()
        _expect(self._queue, place, records[0] if records else None)
        self._held = records[1:]
        return records[0]


def _expect(queue: str, place: Position, found: StreamRecord | None) -> None:
    if found is None or (found.offset, found.message_id) != (place.offset, place.message_id):
        raise NotProvenError(f"the record remembered at {place.offset} of {queue} is not there any more")


async def begin_soundly(view: JournalView, born: Position | None) -> None:
    """Let an owner's or a lost reader's view begin at the best sound place: newest snapshot, birth, or first kept record.

    Afterwards ``view.lenient_until`` is the journal's end as it was: whoever reads up to there has read all that counts today.

    Raises:
        BrokerError: The journal cannot be read at the moment.
    """
    tail = await view.tail()
    sid, done = view.fold.sid, view.fold.done
    view.lenient_until = tail[-1].offset if tail else -1
    scan = newest_scan(tail, sid)
    if scan is not None and await _begin_at_snapshot(view, scan):
        return
    view.fold = Fold(sid, done=DoneTasks() if done is not None else None)
    try:
        await view.begin(born)
    except NotProvenError:
        view.fold = Fold(sid, done=view.fold.done, anywhere=True)
        await view.begin_first()


async def _begin_at_snapshot(view: JournalView, scan: Position) -> bool:
    """A snapshot that was read back is a sound place; a broker that lost it is asked no further."""
    sid, done = view.fold.sid, view.fold.done
    try:
        record = await view.begin_at(scan)
    except NotProvenError:
        return False
    if record.headers.kind is not RecordKind.SNAP or record.headers.sid != sid:
        return False
    view.fold = Fold.at_snapshot(record, done=DoneTasks() if done is not None else None)
    return True
