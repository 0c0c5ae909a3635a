"""Outcomes that an owner has in hand: those not yet visible are kept, those visible only as long as memory allows.

The cache saves runs and nothing else: after a doubt an outcome that is still here is published again instead of being run again.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from bridge.connectors.base import Outcome

__all__ = ["KnownOutcome", "OutcomeCache"]


class KnownOutcome(msgspec.Struct, frozen=True):
    """An outcome with what its output record has to say besides."""

    outcome: Outcome
    of: int
    tag: str

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        payload = self.outcome.payload
        return 128 + (len(payload) if payload is not None else len(self.outcome.exception.message if self.outcome.exception else ""))


class OutcomeCache:
    """Outcomes by task id.

    Args:
        limit: Bytes of visible outcomes to keep.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._pinned: dict[bytes, KnownOutcome] = {}
        self._kept: OrderedDict[bytes, KnownOutcome] = OrderedDict()
        self._kept_bytes = 0

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._pinned and not self._kept

    def put(self, known: KnownOutcome) -> None:
        """Keep an outcome until it is visible."""
        self._pinned[known.outcome.task_id] = known

    def get(self, task: bytes) -> KnownOutcome | None:
        """Return the task's outcome when it is still here."""
        return self._pinned.get(task) or self._kept.get(task)

    def visible(self, task: bytes) -> None:
        """The outcome is visible: from now on it may be dropped, oldest first."""
        known = self._pinned.pop(task, None)
        if known is None:
            return
        self._kept[task] = known
        self._kept_bytes += known.size
        while self._kept_bytes > self._limit:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= old.size
