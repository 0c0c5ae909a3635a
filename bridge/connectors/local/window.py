"""What one worker process has been given and not answered yet, and what its page of progress says about it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from bridge.connectors.base import GridTask
from bridge.connectors.local.frames import PHASE, PROGRESS, SINCE, SKIP

if TYPE_CHECKING:
    from bridge.connectors.local.session import LocalSession

__all__ = ["Bundle", "Window", "WindowError"]


class WindowError(Exception):
    """A process answered for tasks that it was not given."""


class Bundle:
    """Tasks of one session on their way through a worker process. A task that was taken back is None here: its answer is ignored."""

    __slots__ = ("cost", "done", "dropped_at", "session", "tasks")

    def __init__(self, *, session: LocalSession, tasks: list[GridTask | None], cost: float) -> None:
        self.session = session
        self.tasks = tasks
        self.cost = cost
        """Seconds charged for each task when it was sent."""
        self.done = 0
        self.dropped_at: float | None = None
        """Monotonic seconds of the last withdrawal; None: all answers count."""

    def unfinished(self) -> list[GridTask]:
        """The tasks that still wait for an answer that counts."""
        return [task for task in self.tasks[self.done :] if task is not None]

    def drop(self, index: int) -> GridTask | None:
        """Ignore the answer for one task from now on."""
        task, self.tasks[index] = self.tasks[index], None
        self.dropped_at = time.monotonic()
        return task


class Window:
    """The bundles of one worker process, in the order in which it runs them.

    Args:
        page: The shared page, as 64 bit words.
    """

    def __init__(self, *, page: memoryview) -> None:
        self.bundles: deque[Bundle] = deque()
        self.stalled = False
        """Its running task takes so long that nothing is put behind it."""
        self._page = page
        self._base = 0

    @property
    def pending(self) -> int:
        """Tasks in its window, whether their answers still count or not."""
        return sum(len(bundle.tasks) - bundle.done for bundle in self.bundles)

    @property
    def load(self) -> float:
        """Seconds of work in its window, as far as known."""
        return sum((len(bundle.tasks) - bundle.done) * bundle.cost for bundle in self.bundles)

    def advance(self, count: int) -> tuple[Bundle, list[GridTask | None]]:
        """Move on by ``count`` answers; return the bundle and the tasks they are for.

        Raises:
            WindowError: It has not been given so many.
        """
        bundle = self.bundles[0] if self.bundles else None
        if bundle is None or len(bundle.tasks) < bundle.done + count:
            raise WindowError
        tasks = bundle.tasks[bundle.done : bundle.done + count]
        bundle.done += count
        if bundle.done == len(bundle.tasks):
            self.bundles.popleft()
            self._base += len(bundle.tasks)
        self.stalled = False
        return bundle, tasks

    def running(self) -> int | None:
        """Number of the task that runs at this moment, None between tasks."""
        progress = self._page[PROGRESS]
        return progress // 2 if progress & 1 else None

    def since(self) -> float:
        """Monotonic seconds at which the running task or the phase began."""
        return self._page[SINCE] / 1e9

    def entering(self) -> bool:
        """Whether the service enters, updates or leaves a session at this moment."""
        return bool(self._page[PHASE])

    def place(self) -> tuple[Bundle, int] | None:
        """The running task's place, or that of the task that comes next."""
        return self.locate((self._page[PROGRESS]) // 2)

    def locate(self, number: int) -> tuple[Bundle, int] | None:
        """Find a task in the window; None when it was answered already."""
        offset = number - self._base
        for bundle in self.bundles:
            if offset < len(bundle.tasks):
                return (bundle, offset) if offset >= bundle.done else None
            offset -= len(bundle.tasks)
        return None

    def recall(self) -> list[Bundle]:
        """Take back what has not begun: the process skips it. Returns the bundles with their tasks, for putting them back.

        A task that begins in this very moment runs for nothing: its answer is ignored, as for all that were taken back.
        """
        first = (self._page[PROGRESS] + 1) // 2
        self._page[SKIP] = number = self._base + sum(len(bundle.tasks) for bundle in self.bundles)
        taken = []
        for bundle in reversed(self.bundles):
            number -= len(bundle.tasks)
            start = max(bundle.done, first - number)
            back = [bundle.drop(index) for index in range(start, len(bundle.tasks)) if bundle.tasks[index] is not None]
            taken.append(Bundle(session=bundle.session, tasks=back, cost=bundle.cost))
        return taken
