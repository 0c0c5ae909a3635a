"""How many bytes of visible outputs no client has acknowledged: the owner's quota, carried over takeovers."""

from __future__ import annotations

from collections import deque

__all__ = ["Outstanding"]


class Outstanding:
    """Records of outputs from the first unacknowledged one on, by where they end."""

    def __init__(self) -> None:
        self._records: deque[tuple[int, int]] = deque()
        self.bytes = 0
        """Their bytes."""

    def begin(self, end: int, size: int) -> None:
        """Start behind a snapshot: ``size`` bytes before the number ``end`` were unacknowledged; nobody knows any more which."""
        self._records.clear()
        self.bytes = 0
        if size:
            self.add(end, size)

    def add(self, end: int, size: int) -> None:
        """Count a visible record whose last output is ``end - 1``."""
        self._records.append((end, size))
        self.bytes += size

    def acknowledged(self, acked: int) -> None:
        """Forget records whose outputs are all below ``acked``."""
        while self._records and self._records[0][0] <= acked:
            self.bytes -= self._records.popleft()[1]
