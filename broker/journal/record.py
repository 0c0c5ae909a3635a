"""A journal record whose headers were read, so that a fold can judge it before anybody decodes its body."""

from __future__ import annotations

from broker.journal.stream import StreamRecord
from schemas.ids import Position
from schemas.records import RecordBody, RecordError, RecordHeaders, decode_body
from schemas.versions import UnknownVersionError

__all__ = ["JournalRecord", "parse_record"]


class JournalRecord:
    """A record with readable headers at its place in the journal; its body is decoded once, when first asked for."""

    __slots__ = ("_body", "headers", "position", "raw")

    def __init__(self, *, position: Position, headers: RecordHeaders, raw: bytes) -> None:
        self.position = position
        self.headers = headers
        self.raw = raw
        self._body: RecordBody | None = None

    def body(self) -> RecordBody:
        """Decode the body.

        Raises:
            RecordError: Damaged or malformed.
        """
        if self._body is None:
            self._body = decode_body(self.headers, self.raw)
        return self._body


def parse_record(record: StreamRecord) -> JournalRecord | None:
    """Read a raw record's headers; None when they cannot be read: such a record counts for nobody."""
    try:
        headers = RecordHeaders.from_table(record.headers)
    except (RecordError, UnknownVersionError):
        return None
    return JournalRecord(position=Position(record.offset, record.message_id), headers=headers, raw=record.body)
