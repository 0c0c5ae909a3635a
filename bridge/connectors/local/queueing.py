"""The waiting tasks of one session: first come, first served, except that tasks with a priority go before all others."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush

from bridge.connectors.base import GridTask

__all__ = ["TaskQueue"]


class TaskQueue:
    """Two lines: one in turn, one by priority (10000 first, equal ones in turn)."""

    def __init__(self) -> None:
        self._turn: deque[GridTask] = deque()
        self._urgent: list[tuple[int, int, GridTask]] = []
        self._last = 0
        self._first = 0
        self.size = 0
        """Bytes of the waiting task inputs."""

    def __len__(self) -> int:
        return len(self._turn) + len(self._urgent)

    def add(self, tasks: Iterable[GridTask]) -> None:
        """Let tasks wait behind those of the same priority."""
        turn, size = self._turn, 0
        for task in tasks:
            size += len(task.payload)
            if task.priority is None:
                turn.append(task)
            else:
                self._last += 1
                heappush(self._urgent, (-task.priority, self._last, task))
        self.size += size

    def put_back(self, tasks: Collection[GridTask]) -> None:
        """Let tasks that were taken wait again, in their order, before all others of the same priority."""
        for task in reversed(list(tasks)):
            self.size += len(task.payload)
            if task.priority is None:
                self._turn.appendleft(task)
            else:
                self._first -= 1
                heappush(self._urgent, (-task.priority, self._first, task))

    def take(self, count: int, size: int) -> list[GridTask]:
        """Take up to ``count`` tasks with up to ``size`` bytes together, but at least one where one waits."""
        taken: list[GridTask] = []
        left, turn, urgent = size, self._turn, self._urgent
        while len(taken) < count and (urgent or turn):
            following = urgent[0][2] if urgent else turn[0]
            left -= len(following.payload)
            if taken and left < 0:
                left += len(following.payload)
                break
            taken.append(heappop(urgent)[2] if urgent else turn.popleft())
        self.size -= size - left
        return taken

    def remove(self, task_ids: Collection[bytes]) -> list[GridTask]:
        """Take these tasks out, wherever they stand; ids that do not wait here are ignored."""
        gone = [task for task in self if task.task_id in task_ids]
        if gone:
            self._turn = deque(task for task in self._turn if task.task_id not in task_ids)
            self._urgent = [entry for entry in self._urgent if entry[2].task_id not in task_ids]
            heapify(self._urgent)
            self.size -= sum(len(task.payload) for task in gone)
        return gone

    def clear(self) -> list[GridTask]:
        """Take out everything."""
        gone = list(self)
        self._turn.clear()
        self._urgent.clear()
        self.size = 0
        return gone

    def __iter__(self) -> Iterator[GridTask]:
        yield from (entry[2] for entry in sorted(self._urgent))
        yield from self._turn
