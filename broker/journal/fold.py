"""The one fold: what every reader and every owner computes from a journal, record by record.

Only one owner's records count. A *mark* with a higher number than any before begins an epoch; before the epoch's first complete snapshot
nothing else of it counts; outputs count in unbroken order only. A worker that was paused or cut off can still append, and nobody will
see it: log order is the fence.

The rules F1 to F6 are those of the protocol's specification. A fold starts at the session's birth, at a snapshot, or (for a reader with a
cursor) at a record of outputs that has been proven by its message id.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from broker.journal.done import DoneTasks
from broker.journal.outstanding import Outstanding
from broker.journal.record import JournalRecord, parse_record
from schemas.records import (
    Closed,
    CommonData,
    EpochBase,
    Mark,
    Opened,
    Outputs,
    RecordBody,
    RecordError,
    RecordHeaders,
    RecordKind,
    Refused,
    SessionControls,
    Snapshot,
    StateChange,
)
from schemas.symphony import ErrorType, SymphonyException

__all__ = ["NO_EPOCH", "Fold", "JournalRecord", "Verdict", "parse_record", "rebase"]

NO_EPOCH: Final = (0, b"")


class Verdict(StrEnum):
    """What a fold made of a record."""

    VOID = "void"
    """It does not count: another session's, a fenced owner's, a duplicate, or damaged."""
    FOLDED = "folded"
    """It changed the state."""
    VISIBLE = "visible"
    """Its outputs are visible from now on."""
    GAP = "gap"
    """Outputs are missing before it; dropped."""
    REREAD = "reread"
    """This reader did not come the right way: read again from a sound place."""


class Fold:
    """The state of one session at a place in its journal.

    Args:
        sid: The session's nonce; records of others are void.
        done: Where owners gather finished tasks; None for readers, who do not need them.
        anywhere: The place may lie behind trimmed records: wait for a complete snapshot and begin with it.
    """

    def __init__(self, sid: bytes, *, done: DoneTasks | None = None, anywhere: bool = False) -> None:
        self.sid = sid
        self.done = done
        self.num, self.nonce = NO_EPOCH
        self.next = 1
        self.began = 1
        """The first number whose output this fold can have shown."""
        self.open = False
        self.acked = 1
        self.history: list[EpochBase] = []
        self.controls = SessionControls()
        self.common_data: bytes | None = None
        self.common_key = b""
        self.worker = ""
        self.claim_id = ""
        self.native_id = ""
        self.opened = False
        self.refused: Refused | None = None
        self.closed: Closed | None = None
        self.gap = False
        self.failed = 0
        self.cancelled = 0
        self.outstanding = Outstanding()
        self._previous = NO_EPOCH
        self._pub = 0
        self._parts: list[Snapshot] = []
        self._anywhere = anywhere
        self._floating = anywhere

    @classmethod
    def at_outputs(cls, record: JournalRecord) -> Fold:
        """Return the state just before a proven record of outputs, for a reader whose cursor names it."""
        fold = cls(record.headers.sid)
        fold._enter(record.headers)
        fold.next = fold.began = record.headers.first
        fold.open = fold.opened = True
        return fold

    @classmethod
    def at_snapshot(cls, record: JournalRecord, *, done: DoneTasks | None = None) -> Fold:
        """Return the state just before the first part of a proven snapshot that its owner had read back.

        Every later mark stands behind it, so nothing that follows is excused: only a fold that begins at ``anywhere`` may have missed one.
        """
        fold = cls(record.headers.sid, done=done)
        fold._enter(record.headers)
        fold._floating = True
        return fold

    @property
    def ended(self) -> bool:
        """Whether the session was closed or refused."""
        return self.closed is not None or self.refused is not None

    @property
    def floating(self) -> bool:
        """Whether no sound place to begin was met yet."""
        return self._floating

    def acknowledge(self, position: int) -> None:
        """Take note that the client holds every output below ``position``; nobody can hold one that is not visible."""
        self.acked = max(self.acked, min(position, self.next))
        self.outstanding.acknowledged(self.acked)

    def step(self, record: JournalRecord, *, lenient: bool = False) -> Verdict:
        """Fold one record.

        Args:
            record: The next record of the lane, of whichever session.
            lenient: The reader comes from a sound place and has been told to read up to here: what would be a reason to read again is void.
        """
        headers = record.headers
        if headers.sid != self.sid or self.ended:
            return Verdict.VOID
        try:
            if headers.kind is RecordKind.MARK:
                return self._mark(record)
            if headers.num == 0:
                return self._refused(record)
            if (headers.num, headers.nonce) != (self.num, self.nonce) and not self._missed_mark(headers, lenient=lenient):
                return self._foreign(headers, lenient=lenient)
            return self._current(record, lenient=lenient)
        except RecordError:
            return Verdict.VOID

    def _mark(self, record: JournalRecord) -> Verdict:
        """F1: valid when its number is higher than the current one."""
        headers, body = record.headers, record.body()
        if headers.num <= self.num or not isinstance(body, Mark):
            return Verdict.VOID
        self._previous = (self.num, self.nonce)
        self.num, self.nonce = headers.num, headers.nonce
        self.open = self.gap = False
        self.history = [*self.history, EpochBase(self.num, self.nonce, self.next)]
        self.claim_id = body.claim_id
        self.worker = headers.worker
        self._pub = headers.pub
        self._parts = []
        return Verdict.FOLDED

    def _refused(self, record: JournalRecord) -> Verdict:
        """A session that met another one in its lane is refused without an epoch; one that ever was live is not."""
        body = record.body()
        if self.num or not isinstance(body, Refused):
            return Verdict.VOID
        self.refused = body
        return Verdict.FOLDED

    def _foreign(self, headers: RecordHeaders, *, lenient: bool) -> Verdict:
        """F2: a record of another epoch."""
        lost = headers.num > self.num or (headers.num == self.num and headers.nonce != self.nonce)
        return Verdict.REREAD if lost and not lenient else Verdict.VOID

    def _missed_mark(self, headers: RecordHeaders, *, lenient: bool) -> bool:
        """Whether this epoch's mark may have been trimmed: then wait for one of its snapshots.

        Once a sound place was met and the stretch that was there is read, an unknown epoch means what it means to everybody: read again.
        """
        if not self._anywhere or headers.num <= self.num or not (self._floating or lenient):
            return False
        self._enter(headers)
        self.open = False
        self._floating = True
        return True

    def _enter(self, headers: RecordHeaders) -> None:
        """Stand in this record's epoch, just before the record."""
        self.num, self.nonce, self.worker = headers.num, headers.nonce, headers.worker
        self._pub = headers.pub - 1
        self._parts = []

    def _current(self, record: JournalRecord, *, lenient: bool) -> Verdict:
        """A record of the current epoch. One that the broker stored twice must not bring an older state back.

        One that does not follow its predecessor tells a reader that the journal was cut below it and made again: it has seen what is gone.
        """
        if record.headers.pub <= self._pub:
            return Verdict.VOID
        if record.headers.pub != self._pub + 1 and not lenient:
            return Verdict.REREAD
        self._pub = record.headers.pub
        if record.headers.kind is RecordKind.SNAP:
            return self._snapshot_part(record, lenient=lenient)
        if not self.open:
            return Verdict.VOID
        self.worker = record.headers.worker
        self.acknowledge(record.headers.acked)
        if record.headers.kind is RecordKind.OUTS:
            return self._outputs(record)
        return self._change(record.body())

    def _snapshot_part(self, record: JournalRecord, *, lenient: bool) -> Verdict:
        body = record.body()
        if isinstance(body, Snapshot) and body.part == 1:
            self._parts = []
        if not isinstance(body, Snapshot) or body.part != len(self._parts) + 1:
            self._parts = []
            return Verdict.VOID
        self._parts.append(body)
        if body.part < body.parts:
            return Verdict.FOLDED
        parts, self._parts = self._parts, []
        return self._snapshot(parts, lenient=lenient)

    def _snapshot(self, parts: Sequence[Snapshot], *, lenient: bool) -> Verdict:
        """F3 and F4: the first snapshot opens the epoch for readers that came the right way; later ones refresh the state."""
        head = parts[0]
        if self._floating:
            self._floating = False
            self.next = self.began = head.upto
            self.outstanding.begin(head.upto, head.unacked)
        elif head.upto > self.next:
            self.gap = True
            return Verdict.GAP
        elif not self.open and not self._came_right(head) and not lenient:
            return Verdict.REREAD
        self.open = True
        self.history = list(head.history)
        self.acknowledge(head.acked)
        self.controls = head.controls
        self.opened = self.opened or head.controls.opened
        self.native_id = head.controls.native_id or self.native_id
        self.failed, self.cancelled = head.controls.failed, head.controls.cancelled
        self._keep(parts)
        return Verdict.FOLDED

    def _came_right(self, head: Snapshot) -> bool:
        """Equal number and equal former epoch prove the whole prefix: within an epoch nothing is ever published twice."""
        former = head.history[-2] if len(head.history) > 1 else None
        return head.at == self.next and self._previous == ((former.num, former.nonce) if former else NO_EPOCH)

    def _keep(self, parts: Sequence[Snapshot]) -> None:
        if self.done is None:
            return
        for part in parts:
            self.done.merge(part.done)
        pieces = [part.common_data for part in parts if part.common_data is not None]
        self.common_data = b"".join(pieces) if pieces else None
        self.common_key = parts[0].common_key

    def _outputs(self, record: JournalRecord) -> Verdict:
        """F5: in unbroken order or not at all. Nothing is buffered; a gap ends with the next epoch."""
        headers = record.headers
        if headers.first < self.next:
            return Verdict.VOID
        if headers.first > self.next:
            self.gap = True
            return Verdict.GAP
        body = record.body()
        if not isinstance(body, Outputs) or len(body.outputs) != headers.count:
            return Verdict.VOID
        for number, output in enumerate(body.outputs, headers.first):
            if self.done is not None:
                self.done.add(output.task_id, output.of, number)
            if output.exception is not None:
                self._count(output.exception)
        self.next += headers.count
        self.outstanding.add(self.next, len(record.raw))
        self.outstanding.acknowledged(self.acked)
        return Verdict.VISIBLE

    def _count(self, exception: SymphonyException) -> None:
        if exception.error_type == ErrorType.CANCELLED:
            self.cancelled += 1
        else:
            self.failed += 1

    def _change(self, body: RecordBody) -> Verdict:
        match body:
            case Opened():
                self.opened, self.native_id = True, body.native_id
            case StateChange():
                self.acknowledge(body.acked)
                self.controls = body.controls
            case CommonData():
                if self.done is not None:
                    self.common_data, self.common_key = body.data, body.key
            case Refused():
                self.refused = body
            case Closed():
                if body.last >= self.next:
                    # Outputs before it are missing: a session that ended here would never show them.
                    self.gap = True
                    return Verdict.GAP
                self.closed = body
            case Mark() | Snapshot() | Outputs():
                raise RecordError("a record's kind contradicts its body")
        return Verdict.FOLDED


def rebase(fold: Fold, num: int, nonce: bytes, position: int) -> int | None:
    """Return where a cursor or acknowledgement of epoch (num, nonce) stands in this journal; None when the journal is behind it.

    A result below ``position`` means that confirmed records were lost and their numbers used again: the client is told ``rewound``.
    """
    for index, epoch in enumerate(fold.history):
        if (epoch.num, epoch.nonce) == (num, nonce):
            return min([position, *(later.base for later in fold.history[index + 1 :])])
    if num == 0:
        return position
    if num > fold.num:
        return None
    return min(position, fold.acked)
