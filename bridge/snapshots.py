"""Builds the parts of a snapshot, each under 1 MiB, from an owner's fold."""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from broker.journal.fold import Fold
from schemas.records import FinishedSubmission, SessionControls, Snapshot

__all__ = ["snapshot_parts"]

_SUBMISSIONS: Final = 8_000
"""A finished submission takes 40 to 50 bytes; one in work also its bitmap of at most 1,250 bytes (10,000 tasks)."""

_PARTIAL_BYTES: Final = 512 * 1024
_DATA_BYTES: Final = 768 * 1024


def snapshot_parts(fold: Fold, *, at: int, controls: SessionControls) -> list[Snapshot]:
    """Return the snapshot of what is visible now, in parts; the first carries the state.

    Args:
        fold: The owner's fold; it has a done set.
        at: The next sequence number at the epoch's mark.
        controls: What commands have set.
    """
    done = _portions(fold)
    data = _pieces(fold.common_data)
    count = max(len(done), len(data), 1)
    return [
        Snapshot(
            part=index + 1,
            parts=count,
            at=at,
            acked=fold.acked,
            upto=fold.next,
            history=fold.history if index == 0 else [],
            controls=msgspec.structs.replace(controls, failed=fold.failed, cancelled=fold.cancelled) if index == 0 else SessionControls(),
            done=done[index] if index < len(done) else [],
            common_data=data[index] if index < len(data) else None,
            common_key=fold.common_key,
            unacked=fold.outstanding.bytes,
        )
        for index in range(count)
    ]


def _portions(fold: Fold) -> list[list[FinishedSubmission]]:
    """Cut the listing by number and by the bytes of bitmaps."""
    if fold.done is None:
        return []
    portions: list[list[FinishedSubmission]] = []
    listing = fold.done.listing()
    while portion := list(islice(listing, 1)):
        size = 0
        for one in islice(listing, _SUBMISSIONS - 1):
            portion.append(one)
            size += len(one.bitmap or b"")
            if size > _PARTIAL_BYTES:
                break
        portions.append(portion)
    return portions


def _pieces(data: bytes | None) -> list[bytes]:
    if data is None:
        return []
    return [data[start : start + _DATA_BYTES] for start in range(0, len(data), _DATA_BYTES)] or [b""]
