"""Which tasks of a session have a visible output: kept for the session's whole life, 32 bytes for a finished submission.

The unit is the submission (key hash and fingerprint). While only some of its tasks are finished a bitmap says which; afterwards one packed
row stands for all of them. Rows lie in buckets by the key's first bits, so a look-up is one search in a few KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from schemas.ids import FINGERPRINT_BYTES, KEY_HASH_BYTES, split_task_id
from schemas.records import FinishedSubmission

__all__ = ["DoneTasks"]

_ROW: Final = struct.Struct(f">{KEY_HASH_BYTES}s{FINGERPRINT_BYTES}sIQ")
_BUCKET_BITS: Final = 12


class _Partial:
    """A submission of which some tasks are finished."""

    __slots__ = ("bitmap", "high", "left", "of")

    def __init__(self, of: int, high: int = 0, bitmap: bytes | None = None) -> None:
        self.of = of
        self.high = high
        self.bitmap = bytearray(bitmap) if bitmap is not None else bytearray((of + 7) // 8)
        self.left = of - sum(byte.bit_count() for byte in self.bitmap)

    def has(self, index: int) -> bool:
        return bool(self.bitmap[index >> 3] >> (index & 7) & 1)

    def add(self, index: int, number: int) -> None:
        if not self.has(index):
            self.bitmap[index >> 3] |= 1 << (index & 7)
            self.left -= 1
        self.high = max(self.high, number)


class DoneTasks:
    """The set of finished tasks, with a sequence number not below the true one for each."""

    def __init__(self) -> None:
        self._partial: dict[bytes, _Partial] = {}
        self._rows: dict[int, bytearray] = {}
        self._full = 0
        self._fingerprints: dict[bytes, bytes] = {}
        self._newest: tuple[bytes, _Partial] | None = None
        """The submission that was added to last: outputs come in runs."""

    @property
    def submissions(self) -> int:
        """How many submissions have at least one finished task."""
        return self._full + len(self._partial)

    def add(self, task_id: bytes, of: int, number: int) -> None:
        """Note that the output of ``task_id``, of a submission of ``of`` tasks, is visible as ``number``."""
        newest = self._newest
        if newest is not None and task_id.startswith(newest[0]):
            index = int.from_bytes(task_id[-4:])
            if index < newest[1].of:
                newest[1].add(index, number)
                self._finish_if_whole(newest[0], newest[1])
            return
        key, fp, index = split_task_id(task_id)
        if index >= of or self._row(key, fp) is not None:
            return
        if of == 1:
            self._append(key, fp, of, number)
            return
        self._begin(key, fp, of).add(index, number)
        self._finish_if_whole(key + fp, self._partial[key + fp])

    def knows(self, key: bytes, fp: bytes) -> bool:
        """Whether any task with this key has a visible output, under this body or another: most submissions are new, and need no look at each task."""
        return key in self._fingerprints or next(self._find(key, key), None) is not None or key + fp in self._partial

    def number(self, task_id: bytes) -> int | None:
        """Return a sequence number at or above that of the task's visible output; None when it has none."""
        key, fp, index = split_task_id(task_id)
        partial = self._partial.get(key + fp)
        if partial is not None:
            return partial.high if index < partial.of and partial.has(index) else None
        row = self._row(key, fp)
        return row[1] if row is not None and index < row[0] else None

    def other_fingerprint(self, key: bytes, fp: bytes) -> bool:
        """Tell whether this key has finished tasks under another body only: a reused ``Idempotency-Key``."""
        if key + fp in self._partial or self._row(key, fp) is not None:
            return False
        return key in self._fingerprints or next(self._find(key, key), None) is not None

    def merge(self, submissions: list[FinishedSubmission]) -> None:
        """Add what a snapshot lists."""
        for one in submissions:
            if self._row(one.key, one.fp) is not None:
                continue
            if one.bitmap is None:
                old = self._partial.pop(one.key + one.fp, None)
                self._append(one.key, one.fp, one.of, max(one.high, old.high if old else 0))
                continue
            partial = self._partial.setdefault(one.key + one.fp, _Partial(one.of))
            self._fingerprints.setdefault(one.key, one.fp)
            partial.bitmap = bytearray(a | b for a, b in zip(partial.bitmap, one.bitmap, strict=True))
            partial.left = partial.of - sum(byte.bit_count() for byte in partial.bitmap)
            partial.high = max(partial.high, one.high)
            if not partial.left:
                self._finish(one.key, one.fp, partial)

    def listing(self) -> Iterator[FinishedSubmission]:
        """Yield every submission for a snapshot."""
        for rows in self._rows.values():
            for key, fp, of, high in _ROW.iter_unpack(rows):
                yield FinishedSubmission(key, fp, of, high)
        for name, partial in self._partial.items():
            yield FinishedSubmission(name[:KEY_HASH_BYTES], name[KEY_HASH_BYTES:], partial.of, partial.high, bytes(partial.bitmap))

    def _begin(self, key: bytes, fp: bytes, of: int) -> _Partial:
        name = key + fp
        partial = self._partial.get(name)
        if partial is None:
            partial = self._partial[name] = _Partial(of)
            self._fingerprints.setdefault(key, fp)
        self._newest = (name, partial)
        return partial

    def _finish_if_whole(self, name: bytes, partial: _Partial) -> None:
        if not partial.left:
            self._finish(name[:KEY_HASH_BYTES], name[KEY_HASH_BYTES:], partial)

    def _finish(self, key: bytes, fp: bytes, partial: _Partial) -> None:
        self._newest = None
        del self._partial[key + fp]
        self._fingerprints.pop(key, None)
        self._append(key, fp, partial.of, partial.high)

    def _append(self, key: bytes, fp: bytes, of: int, high: int) -> None:
        self._rows.setdefault(_bucket(key), bytearray()).extend(_ROW.pack(key, fp, of, high))
        self._full += 1

    def _row(self, key: bytes, fp: bytes) -> tuple[int, int] | None:
        for _, _, of, high in self._find(key, key + fp):
            return of, high
        return None

    def _find(self, key: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
        rows = self._rows.get(_bucket(key))
        at = rows.find(prefix) if rows is not None else -1
        while rows is not None and at >= 0:
            if at % _ROW.size == 0:
                yield _ROW.unpack_from(rows, at)
            at = rows.find(prefix, at + 1)


def _bucket(key: bytes) -> int:
    return int.from_bytes(key[:2]) >> (16 - _BUCKET_BITS)
