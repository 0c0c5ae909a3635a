"""Outcomes that a worker still has in hand: published again after a doubt, instead of being run again.

It saves runs and nothing else: correctness never depends on what is kept here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.records import TaskOutput

__all__ = ["OutcomeCache", "output_bytes"]

_PER_OUTPUT: Final = 128


def output_bytes(output: TaskOutput) -> int:
    """Return the bytes that an output takes in a record or in memory, roughly."""
    if output.payload is not None:
        return _PER_OUTPUT + len(output.payload)
    return _PER_OUTPUT + (len(output.exception.message) if output.exception is not None else 0)


class OutcomeCache:
    """The newest visible outputs of one session, and those that an epoch left behind unpublished.

    Args:
        limit: Bytes of visible outputs to keep.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._visible: deque[tuple[int, Sequence[TaskOutput]]] = deque()
        self._bytes = 0
        self._left: list[TaskOutput] = []

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._visible and not self._left

    def keep(self, outputs: Sequence[TaskOutput], size: int) -> None:
        """Keep a record's visible outputs, ``size`` bytes, as long as there is room: the oldest go first."""
        self._visible.append((size, outputs))
        self._bytes += size
        while self._bytes > self._limit:
            self._bytes -= self._visible.popleft()[0]

    def leave(self, outputs: Iterable[TaskOutput]) -> None:
        """Leave outputs that nobody has seen yet to the next epoch."""
        self._left.extend(outputs)

    def take(self) -> dict[bytes, TaskOutput]:
        """Return all that is in hand by task id; what was left behind is the caller's from now on."""
        left, self._left = self._left, []
        found = {output.task_id: output for _, outputs in self._visible for output in outputs}
        found.update((output.task_id, output) for output in left)
        return found
