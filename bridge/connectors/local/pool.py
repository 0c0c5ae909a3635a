"""Shares an application's worker processes among its sessions, and settles what became of each task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from math import ceil
from typing import Final

from bridge.connectors.base import ConnectorError, GridTask, Outcome
from bridge.connectors.local import failing
from bridge.connectors.local.crew import Crew
from bridge.connectors.local.frames import Failure, Results
from bridge.connectors.local.limits import TimeLimits
from bridge.connectors.local.process import WorkerProcess
from bridge.connectors.local.profile import ApplicationProfile, LocalSettings
from bridge.connectors.local.session import LocalSession
from bridge.connectors.local.window import Bundle

__all__ = ["ApplicationPool"]

_WINDOW: Final = 0.01
"""Seconds of work that a process is given ahead: enough to keep it busy, little enough to spread slow tasks evenly."""
_BUNDLES: Final = 3
"""Bundles that a process is given ahead; what comes meanwhile travels together in the next one."""
_BUNDLE_TASKS: Final = 512
_BUNDLE_BYTES: Final = 1024 * 1024
_SPREAD: Final = 0.0002
"""Seconds of one task from which on a short queue is spread over all processes rather than sent to one."""
_STAY: Final = 0.02
"""Seconds of work for which a process stays with its session though another one would be next; entering a session may be dear."""
_CREDIT: Final = 0.1
"""Seconds of work that a session which asked for nothing may catch up on."""


class ApplicationPool:
    """Runs the tasks of one application's sessions.

    Sessions share by weight: whichever has used the least time of worker processes, divided by its priority, gets the next bundle.

    Args:
        settings: The grid's settings.
        profile: The application.
        starts: Bounds how many processes of the whole grid are starting at a time.
    """

    def __init__(self, *, settings: LocalSettings, profile: ApplicationProfile, starts: asyncio.Semaphore) -> None:
        self._profile = profile
        self._sessions: dict[int, LocalSession] = {}
        self._clock = 0.0
        self._limits = TimeLimits(settings=settings, profile=profile, recall=self._recall)
        self.crew = Crew(settings=settings, profile=profile, starts=starts, employer=self, on_results=self._settle)

    def admit(self, session: LocalSession) -> None:
        """Let a session take part."""
        session.used = self._clock
        self._sessions[id(session)] = session

    def dispatch(self) -> None:
        """Give bundles to all processes that have room, the least loaded ones first."""
        waiting = [session for session in self._sessions.values() if session.runnable]
        while waiting:
            given = [self._give(worker, waiting) for worker in sorted(self.crew.workers, key=lambda one: one.window.load)]
            if not any(given):
                return
            waiting = [session for session in waiting if session.runnable]

    def _give(self, worker: WorkerProcess, waiting: list[LocalSession]) -> bool:
        window = worker.window
        if window.stalled or len(window.bundles) >= _BUNDLES:
            return False
        session = self._next(worker, waiting)
        if session is None:
            return False
        count = self._room(worker, session)
        if not count:
            return False
        tasks = session.take(count, _BUNDLE_BYTES)
        worker.send(Bundle(session=session, tasks=[*tasks], cost=session.cost or 0.0), tasks)
        self._limits.watch(worker)
        return True

    def _next(self, worker: WorkerProcess, waiting: list[LocalSession]) -> LocalSession | None:
        """The session that is due for this process."""
        first: LocalSession | None = None
        for session in waiting:
            if not session.queue:
                continue
            session.used = max(session.used, self._clock - _CREDIT / session.weight)
            if first is None or session.used < first.used:
                first = session
        if first is None:
            return None
        self._clock = max(self._clock, first.used)
        bound = worker.bound
        if bound is None or bound is first or bound not in waiting or not bound.queue:
            return first
        return bound if bound.used <= first.used + max(_STAY, 5 * first.enter_seconds) / bound.weight else first

    def _room(self, worker: WorkerProcess, session: LocalSession) -> int:
        """How many tasks of this session the process may be given now."""
        least = 0 if worker.window.bundles else 1
        cost = session.cost
        if cost is None:
            return least
        count = min(_BUNDLE_TASKS, int((_WINDOW - worker.window.load) / max(cost, 1e-6)))
        count = min(count, int(_BUNDLE_BYTES / max(session.output_size, 1.0)))
        if cost > _SPREAD:
            count = min(count, ceil(len(session.queue) / len(self.crew.workers)))
        return max(least, count)

    def _settle(self, worker: WorkerProcess, results: Results) -> None:
        """Take a frame of answers."""
        bundle, tasks = worker.window.advance(len(results.outputs))
        session = bundle.session
        session.measure(results, bundle)
        if results.plain and bundle.dropped_at is None:
            now, size = time.time(), 0
            outcomes = []
            for task, output in zip(tasks, results.outputs, strict=True):
                outcomes.append(Outcome(task.task_id, output, None, now))  # type: ignore[union-attr, arg-type]
                size += len(output)  # type: ignore[arg-type]
            session.deliver(outcomes, size)
        elif results.entering is not None:
            worker.bound = None
            session.put_back([task for task in tasks if task is not None], 0.0)
            session.failed_enter(results.entering)
        else:
            _settle_each(session, tasks, results.outputs)
        self._limits.watch(worker)
        self.dispatch()

    def joined(self, worker: WorkerProcess) -> None:
        """A process is ready for tasks."""
        del worker
        self.dispatch()

    def lost(self, worker: WorkerProcess, status: int) -> None:
        """A process is gone: its bystanders wait again as if nothing had happened, the task that ended it counts a failed run."""
        window = worker.window
        entering = window.entering() and bool(window.bundles)
        blamed = None if entering else self._blame(worker)
        culprit = blamed[0].drop(blamed[1]) if blamed is not None else None
        head = window.bundles[0].session if window.bundles else None
        for bundle in reversed(window.bundles):
            bundle.session.put_back(bundle.unfinished(), bundle.cost)
        why = worker.verdict[1] if worker.verdict is not None else ""
        if entering and head is not None:
            text = "the service did not come back in time" if why else f"the service's process ended: {failing.describe_exit(status)}"
            head.failed_enter(Failure("session-enter-failed", "FailureException", 0, text, retry=True))
        if blamed is not None and culprit is not None:
            bundle = blamed[0]
            bundle.session.used += max(0.0, time.monotonic() - window.since() - bundle.cost) / bundle.session.weight
            self._count(bundle, culprit, why, status)
        window.bundles.clear()
        self.dispatch()

    def _blame(self, worker: WorkerProcess) -> tuple[Bundle, int] | None:
        """Which task ended the process, None when it was none."""
        window = worker.window
        if worker.verdict is not None:
            return window.locate(worker.verdict[0])
        number = window.running()
        if number is not None:
            return window.locate(number)
        # A process that dies between tasks before it ever answered would otherwise be given the same tasks for ever.
        return None if worker.answered else window.place()

    def _count(self, bundle: Bundle, task: GridTask, why: str, status: int) -> None:
        if why in ("suspended", "dropped"):
            bundle.session.put_back([task], bundle.cost)
            return
        limit = task.timeout if task.timeout is not None else self._profile.invoke_timeout
        exception = failing.timed_out(limit) if why == "task-timeout" and limit is not None else failing.exited(status)
        bundle.session.failed_run(task, exception, retry=True)

    def unavailable(self, reason: str) -> None:
        """No process would start: what waits now has failed. Later tasks get the next attempt."""
        for session in list(self._sessions.values()):
            session.give_up(failing.unavailable(reason))

    def _recall(self, worker: WorkerProcess) -> None:
        for bundle in worker.window.recall():
            bundle.session.put_back(bundle.unfinished(), bundle.cost)
        self.dispatch()

    def _holding(self, session: LocalSession) -> list[WorkerProcess]:
        return [worker for worker in self.crew.workers if any(bundle.session is session for bundle in worker.window.bundles)]

    def recall(self, session: LocalSession) -> None:
        """Let tasks of the session that have not begun wait again, and with them what others have put behind them."""
        for worker in self._holding(session):
            self._recall(worker)

    def drop(self, session: LocalSession, task_ids: Collection[bytes] | None) -> list[GridTask]:
        """Ignore tasks of the session that were given to a process (None: all) from now on; one that goes on for long is ended."""
        dropped = []
        for worker in self._holding(session):
            for bundle in worker.window.bundles:
                if bundle.session is session:
                    dropped += [bundle.drop(at) for at, task in enumerate(bundle.tasks) if at >= bundle.done and _wanted(task, task_ids)]
            if task_ids is None:
                self._recall(worker)
            self._limits.watch(worker)
        return [task for task in dropped if task is not None]

    def hold(self, session: LocalSession) -> None:
        """End what still runs of the session once its grace period is over."""
        for worker in self._holding(session):
            self._limits.watch(worker)

    def leave(self, session: LocalSession) -> None:
        """Forget the session; processes drop its common data."""
        self._sessions.pop(id(session), None)
        for worker in self.crew.workers:
            worker.forget(session.key)
            worker.bound = None if worker.bound is session else worker.bound
        self.dispatch()

    async def close(self) -> None:
        """Detach all sessions and end all processes."""
        for session in list(self._sessions.values()):
            await session.close(destroy=False)
        await self.crew.stop()

    async def open(self, group: asyncio.TaskGroup) -> str | None:
        """Start the processes at the first call; return when one is ready, or why none is.

        Raises:
            ConnectorError: The grid was let go of meanwhile.
        """
        try:
            return await self.crew.usable(group)
        except RuntimeError as error:
            raise ConnectorError("the grid is closing") from error


def _wanted(task: GridTask | None, task_ids: Collection[bytes] | None) -> bool:
    return task is not None and (task_ids is None or task.task_id in task_ids)


def _settle_each(session: LocalSession, tasks: list[GridTask | None], answers: list[bytes | Failure | None]) -> None:
    """Take answers one by one: some failed, or were not wanted any more."""
    now = time.time()
    for task, answer in zip(tasks, answers, strict=True):
        if task is None:
            continue
        if isinstance(answer, bytes):
            session.deliver([Outcome(task.task_id, answer, None, now)], len(answer))
        elif answer is None:
            session.put_back([task], 0.0)
        else:
            session.failed_run(task, failing.unfold(answer), retry=answer.retry)
