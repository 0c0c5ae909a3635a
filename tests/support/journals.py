"""Journals made by hand: records as owners write them, at the places where a test wants them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker.journal.fold import Fold, JournalRecord, Verdict, parse_record
from broker.journal.stream import StreamRecord
from schemas.ids import Position
from schemas.records import (
    Closed,
    EpochBase,
    FinishedSubmission,
    Mark,
    Outputs,
    RecordBody,
    RecordHeaders,
    RecordKind,
    SessionControls,
    Snapshot,
    TaskOutput,
    body_digest,
    encode_body,
)

__all__ = ["SID", "Pen", "Written", "placed", "read", "task_of"]

SID = b"s" * 16


def task_of(index: int) -> bytes:
    """The id of task ``index``, the only one of its submission."""
    return b"%016d" % index + b"fpfp" + bytes(4)


class Written:
    """A record that has no place yet."""

    def __init__(self, headers: RecordHeaders, raw: bytes) -> None:
        self.headers = headers
        self.raw = raw

    def at(self, offset: int) -> StreamRecord:
        """Return the record as a stream delivers it."""
        return StreamRecord(offset, self.headers.message_id, self.headers.to_table(), self.raw)

    def damaged(self) -> Written:
        """Return the record with another body than was written."""
        return Written(self.headers, self.raw + b"!")


class Pen:
    """Writes the records of one epoch.

    Args:
        num: The epoch's number.
        nonce: Its nonce; by default made of the number.
        history: The epochs before it.
        at: The next sequence number at its mark.
        sid: The session.
    """

    def __init__(self, num: int, *, nonce: bytes | None = None, history: Sequence[EpochBase] = (), at: int = 1, sid: bytes = SID) -> None:
        self.num = num
        self.nonce = nonce if nonce is not None else b"%08d" % num
        self.history = [*history, EpochBase(num, self.nonce, at)]
        self.at = at
        self.sid = sid
        self.pub = 0
        self.scan: Position | None = None

    def after(self, num: int, *, at: int, nonce: bytes | None = None) -> Pen:
        """Return the pen of the next epoch."""
        return Pen(num, nonce=nonce, history=self.history, at=at, sid=self.sid)

    def write(self, kind: RecordKind, body: RecordBody, *, first: int = 0, acked: int = 1) -> Written:
        """Write any record."""
        raw = encode_body(body)
        self.pub += 1
        count = len(body.outputs) if isinstance(body, Outputs) else 0
        headers = RecordHeaders(
            sid=self.sid,
            num=self.num,
            nonce=self.nonce,
            pub=self.pub,
            kind=kind,
            worker=f"w{self.num}",
            digest=body_digest(raw),
            scan=self.scan,
            acked=acked,
            first=first,
            count=count,
        )
        return Written(headers, raw)

    def mark(self, claim_id: str = "c1") -> Written:
        """The fence."""
        return self.write(RecordKind.MARK, Mark(claim_id))

    def snap(  # noqa: PLR0913 - a snapshot says that much
        self,
        *,
        upto: int | None = None,
        acked: int = 1,
        part: int = 1,
        parts: int = 1,
        done: Iterable[int] = (),
        controls: SessionControls | None = None,
        history: Sequence[EpochBase] | None = None,
        common_data: bytes | None = None,
    ) -> Written:
        """A snapshot; ``done`` names tasks by index, numbered as they are."""
        body = Snapshot(
            part=part,
            parts=parts,
            at=self.at,
            acked=acked,
            upto=self.at if upto is None else upto,
            history=list(self.history if history is None else history),
            controls=controls or SessionControls(opened=True, native_id="n"),
            done=[FinishedSubmission(task_of(index)[:16], b"fpfp", 1, index) for index in done],
            common_data=common_data,
        )
        return self.write(RecordKind.SNAP, body)

    def outs(self, first: int, tasks: Sequence[int] | None = None, *, acked: int = 1) -> Written:
        """Outputs from number ``first`` on; by default one, of the task with that number."""
        chosen = [first] if tasks is None else tasks
        body = Outputs([TaskOutput(task_of(task), 1, "", 0.0, b"%s/%d" % (self.nonce, task)) for task in chosen])
        return self.write(RecordKind.OUTS, body, first=first, acked=acked)

    def closed(self, last: int) -> Written:
        """The session's end."""
        return self.write(RecordKind.CLOSED, Closed(last=last, reason="done"))


def placed(written: Written, offset: int = 0) -> JournalRecord:
    """Return the record at a place, its headers read."""
    record = parse_record(written.at(offset))
    assert record is not None
    return record


def read(fold: Fold, *journal: Written, lenient: bool = False) -> list[Verdict]:
    """Fold the records one after another; return what became of each."""
    return [fold.step(placed(written, offset), lenient=lenient) for offset, written in enumerate(journal)]
