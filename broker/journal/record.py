"""A journal record whose headers were read, so that a fold can judge it before anybody decodes its body."""

from __future__ import annotations

from collections.abc import Callable

from broker.journal.stream import StreamRecord
from schemas.ids import Position
from schemas.records import RecordBody, RecordError, RecordHeaders, check_body, decode_body
from schemas.versions import UnknownVersionError

__all__ = ["JournalRecord", "parse_record"]


class JournalRecord:
    """A record with readable headers at its place in the journal; its body is decoded once, when first asked for.

    Args:
        position: Its place.
        headers: Its headers.
        raw: Its body's bytes.
        published: The body that the reader itself had published under these headers: then the bytes are checked and not decoded.
    """

    __slots__ = ("_body", "_published", "headers", "position", "raw")

    def __init__(self, *, position: Position, headers: RecordHeaders, raw: bytes, published: RecordBody | None = None) -> None:
        self.position = position
        self.headers = headers
        self.raw = raw
        self._published = published
        self._body: RecordBody | None = None

    def body(self) -> RecordBody:
        """Decode the body.

        Raises:
            RecordError: Damaged or malformed.
        """
        if self._body is None and self._published is not None:
            check_body(self.headers, self.raw)
            self._body = self._published
        if self._body is None:
            self._body = decode_body(self.headers, self.raw)
        return self._body


def parse_record(record: StreamRecord, published: Callable[[RecordHeaders], RecordBody | None] | None = None) -> JournalRecord | None:
    """Read a raw record's headers; None when they cannot be read: such a record counts for nobody.

    Args:
        record: As it came.
        published: Tells an owner's own bodies.
    """
    try:
        headers = RecordHeaders.from_table(record.headers)
    except (RecordError, UnknownVersionError):
        return None
    own = published(headers) if published is not None else None
    return JournalRecord(position=Position(record.offset, record.message_id), headers=headers, raw=record.body, published=own)
