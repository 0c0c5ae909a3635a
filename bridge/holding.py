"""Input deliveries that an owner holds unacknowledged, and when each may be acknowledged.

An input is acknowledged when the outputs of all its tasks are visible, and the client has them or a fresh reading has shown them again after
the acknowledgement delay: streams are replicated but not fsynced, the input queue is, so the input is the backup for the last seconds.
Never on a confirm alone, never because a window is full.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from schemas.ids import task_id
from schemas.messages import SubmissionRange

__all__ = ["Held", "Holding"]

_NEVER = 1 << 62


class Held:
    """One delivery. ``missing`` tasks still have no visible output; ``high`` is the highest sequence number among the others."""

    __slots__ = ("acked", "again", "gate", "high", "missing", "ranges", "tag", "visible_at")

    def __init__(self, *, tag: int, ranges: Sequence[SubmissionRange] = (), again: Callable[[], None] | None = None) -> None:
        self.tag = tag
        self.ranges = ranges
        self.again = again
        """For a delivery without tasks: publishes the record that justifies acknowledging it, once more in each epoch."""
        self.gate = False
        """Something outside the journal has to be confirmed first (a copy among the dead letters)."""
        self.missing = 0
        self.high = 0
        self.visible_at = 0.0
        self.acked = False

    def __lt__(self, other: Held) -> bool:
        return self.high < other.high

    def task_ids(self) -> Iterator[tuple[bytes, int]]:
        """Yield each task's id with the size of its submission."""
        for run in self.ranges:
            for index in range(run.first, run.first + run.count):
                yield task_id(run.key, run.fp, index), run.of


class Holding:
    """All deliveries of one session on one channel. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._waiting: dict[bytes, list[Held]] = {}
        self._by_number: list[Held] = []
        self._by_time: deque[Held] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    @property
    def waiting(self) -> int:
        """How many tasks have no visible output yet."""
        return len(self._waiting)

    def add(self, held: Held) -> None:
        """Begin to hold a delivery; its tasks are told one by one afterwards, then ``settle`` is called."""
        self._held[held.tag] = held

    def waits_for(self, task: bytes) -> bool:
        """Whether some delivery waits for the task's output."""
        return task in self._waiting

    def wait(self, held: Held, task: bytes) -> None:
        """Note that this delivery waits for the task; several deliveries may, when an input was sent twice."""
        held.missing += 1
        self._waiting.setdefault(task, []).append(held)

    def settle(self, held: Held, now: float) -> None:
        """Note that a delivery has been looked through; it may be complete at once."""
        self._check(held, now)

    def visible(self, task: bytes, number: int, now: float) -> None:
        """Note that the task's output is visible as ``number``."""
        for held in self._waiting.pop(task, ()):
            held.high = max(held.high, number)
            held.missing -= 1
            self._check(held, now)

    def expect(self, held: Held) -> None:
        """Note that a delivery without tasks waits for a record of the owner's (``justified``)."""
        held.missing += 1
        held.high = _NEVER

    def justified(self, held: Held, now: float) -> None:
        """Note that the record which justifies acknowledging this delivery is visible."""
        held.missing -= 1
        self._check(held, now)

    def unlock(self, held: Held, now: float) -> None:
        """Open a delivery's gate."""
        held.gate = False
        self._check(held, now)

    def release(self, *, acked: int, safe: float) -> Iterator[int]:
        """Yield the tags that may be acknowledged.

        Args:
            acked: The client holds all outputs below this number.
            safe: What was visible at this time has been seen again in a reading begun the whole delay later.
        """
        while self._by_number and self._by_number[0].high < acked:
            yield from self._drop(heapq.heappop(self._by_number))
        while self._by_time and self._by_time[0].visible_at <= safe:
            yield from self._drop(self._by_time.popleft())

    def waits_since(self) -> float | None:
        """Return since when the oldest complete delivery has been waiting to be given up; None: none is."""
        while self._by_time and self._by_time[0].acked:
            self._by_time.popleft()
        return self._by_time[0].visible_at if self._by_time else None

    def restart(self) -> list[Held]:
        """Forget what was visible (a new epoch begins); return the deliveries, to be looked through again in their order."""
        self._waiting.clear()
        self._by_number.clear()
        self._by_time.clear()
        for held in self._held.values():
            held.missing = held.high = 0
        return list(self._held.values())

    def _check(self, held: Held, now: float) -> None:
        if held.missing or held.gate:
            return
        held.visible_at = now
        heapq.heappush(self._by_number, held)
        self._by_time.append(held)

    def _drop(self, held: Held) -> Iterator[int]:
        if not held.acked:
            held.acked = True
            self._held.pop(held.tag, None)
            yield held.tag
