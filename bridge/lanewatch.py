"""Tells whether another session lives in the same lane, by the order of records in its journal.

Tokens keep two sessions out of one lane; surplus tokens (a repair made one too many) may lead two there. Then log order decides: the
session whose mark came first stays.
"""

from __future__ import annotations

from broker.journal.fold import JournalRecord
from schemas.records import RecordKind

__all__ = ["LaneWatch"]

_LAST = (RecordKind.CLOSED, RecordKind.REFUSED)


class LaneWatch:
    """Follows the other sessions of a lane.

    Args:
        sid: The session that is not another one.
    """

    def __init__(self, sid: bytes) -> None:
        self._sid = sid
        self._live: set[bytes] = set()
        self._ended: set[bytes] = set()

    @property
    def occupied(self) -> bool:
        """Whether another session has shown itself and not ended."""
        return bool(self._live)

    def saw(self, record: JournalRecord) -> None:
        """Take note of a record of whichever session."""
        sid = record.headers.sid
        if sid == self._sid or sid in self._ended:
            return
        if record.headers.kind in _LAST:
            self._ended.add(sid)
            self._live.discard(sid)
            return
        self._live.add(sid)
