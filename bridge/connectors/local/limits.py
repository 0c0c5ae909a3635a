"""Time limits: looks at what a worker process does at this moment, and ends the process when that goes on for too long.

The page of progress tells which task runs and since when, so the right task is blamed even when it stands behind others in a bundle.
One timer for each busy process, set for the next moment at which anything could be due; none on the way of a task that is in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bridge.connectors.local.process import WorkerProcess
from bridge.connectors.local.profile import ApplicationProfile, LocalSettings
from bridge.connectors.local.window import Bundle

__all__ = ["TimeLimits"]

_STALL: Final = 0.05
"""Seconds that a task may run before those behind it are taken back and given to other worker processes."""


class TimeLimits:
    """Watches the worker processes of one application.

    Args:
        settings: The grid's settings.
        profile: The application.
        recall: Called with a process whose running task keeps others waiting.
    """

    def __init__(self, *, settings: LocalSettings, profile: ApplicationProfile, recall: Callable[[WorkerProcess], None]) -> None:
        self._settings = settings
        self._profile = profile
        self._recall = recall

    def watch(self, worker: WorkerProcess) -> None:
        """See to it that somebody looks when the next limit of this process is due."""
        window = worker.window
        if not window.bundles:
            return
        now = time.monotonic()
        due = now + (_STALL if window.pending > 1 and not window.stalled else self._profile.session_enter_timeout)
        if window.entering():
            due = min(due, window.since() + self._profile.session_enter_timeout)
        place = window.place()
        if place is not None:
            due = min(due, self._deadline(place[0], place[1], window.since() if window.running() is not None else now)[0])
        timer = worker.timer
        loop = asyncio.get_running_loop()
        delay = max(0.0, due - now)
        if timer is not None:
            if timer.when() <= loop.time() + delay:
                return
            timer.cancel()
        worker.timer = loop.call_later(delay, self._look, worker)

    def limit_of(self, bundle: Bundle, index: int) -> float | None:
        """Seconds that one run of this task may take."""
        task = bundle.tasks[index]
        return self._profile.invoke_timeout if task is None or task.timeout is None else task.timeout

    def _deadline(self, bundle: Bundle, index: int, since: float) -> tuple[float, str]:
        """When a task that runs since then has to be ended, in monotonic seconds, and why."""
        limit = self.limit_of(bundle, index)
        deadlines = [(since + limit, "task-timeout")] if limit is not None else []
        if bundle.tasks[index] is None and bundle.dropped_at is not None:
            deadlines.append((max(since, bundle.dropped_at) + self._settings.cancel_grace, "dropped"))
        if bundle.session.suspended_at is not None:
            deadlines.append((bundle.session.suspended_at + bundle.session.plan.session_type.suspend_grace_period, "suspended"))
        return min(deadlines, default=(float("inf"), ""))

    def _look(self, worker: WorkerProcess) -> None:
        worker.timer = None
        window, now = worker.window, time.monotonic()
        if not window.bundles:
            return
        number, since = window.running(), window.since()
        place = None if number is None else window.locate(number)
        if number is not None and place is not None:
            deadline, why = self._deadline(*place, since)
            if now >= deadline:
                worker.kill(number, why)
                return
            if now - since >= _STALL and window.pending > 1 and not window.stalled:
                window.stalled = True
                self._recall(worker)
        elif window.entering() and now - since >= self._profile.session_enter_timeout:
            worker.kill(-1, "session-enter-timeout")
            return
        self.watch(worker)
