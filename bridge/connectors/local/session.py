"""One open session on the local grid: its waiting tasks, its share of the worker processes, its outcomes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final, Protocol

from typing_extensions import override

from bridge.connectors.base import Cancellable, ConnectorError, GridSession, GridTask, Outcome, Prioritised, SessionOpening, Suspendable, Updatable
from bridge.connectors.local import failing
from bridge.connectors.local.frames import Failure, Results
from bridge.connectors.local.profile import LocalSettings, SessionPlan
from bridge.connectors.local.queueing import TaskQueue
from bridge.connectors.local.window import Bundle
from schemas.symphony import SymphonyException, check_priority

__all__ = ["LocalSession", "Slots"]

_OUTCOME_BYTES: Final = 256
"""What an outcome takes beside its output, for the bound on outcomes that nobody has taken."""


class Slots(Protocol):
    """What a session asks of the pool that runs its tasks."""

    def dispatch(self) -> None:
        """Hand out what can be handed out now."""

    def recall(self, session: LocalSession) -> None:
        """Let tasks of the session that have not begun wait again."""

    def drop(self, session: LocalSession, task_ids: Collection[bytes] | None) -> list[GridTask]:
        """Ignore running or handed out tasks of the session from now on (None: all) and return them."""

    def hold(self, session: LocalSession) -> None:
        """End what still runs of the session once its grace period is over."""

    def leave(self, session: LocalSession) -> None:
        """Forget the session."""


class LocalSession(GridSession, Cancellable, Suspendable, Updatable, Prioritised):
    """A session whose tasks run in the worker processes of its application.

    Args:
        opening: What the owner asked for.
        plan: The profile's answer.
        settings: The grid's settings.
        slots: The application's pool.
    """

    def __init__(self, *, opening: SessionOpening, plan: SessionPlan, settings: LocalSettings, slots: Slots) -> None:
        self.key = opening.sid + secrets.token_bytes(4)
        """Tells the session from another one with the same id, which an owner may open before it has closed this one."""
        self.tag = opening.attributes.tag or ""
        self.plan = plan
        self.weight = plan.priority
        self.common_data = opening.common_data
        self.version = 0
        self.queue = TaskQueue()
        self.used = 0.0
        """Seconds of worker processes used, divided by the weight: the session with the least goes first."""
        self.cost: float | None = None
        """Seconds that a task takes, as lately measured; None: not known yet."""
        self.output_size = 0.0
        """Bytes of an output, as lately measured."""
        self.enter_seconds = 0.0
        self.suspended_at: float | None = None
        self.aborted: SymphonyException | None = None
        self._sid = opening.sid
        self._settings = settings
        self._slots = slots
        self._attempts: dict[bytes, int] = {}
        self._failed_enters = 0
        self._ready: list[Outcome] = []
        self._ready_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    @property
    @override
    def native_id(self) -> str:
        """The session's nonce, as its service sees it."""
        return self._sid.hex()

    @property
    def runnable(self) -> bool:
        """Whether one of its tasks may start now."""
        return bool(self.queue) and self.suspended_at is None and self._ready_bytes < self._settings.outcome_bytes

    @override
    async def submit(self, tasks: Sequence[GridTask]) -> None:
        """Take over a bundle, at once while the session's waiting tasks are below ``waiting_tasks`` and ``waiting_bytes``."""
        while not self._closed and self._full():
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise ConnectorError("the grid session is closed")
        if self.aborted is not None:
            self.fail(tasks, self.aborted)
            return
        self.queue.add(tasks)
        self._slots.dispatch()

    def _full(self) -> bool:
        return len(self.queue) >= self._settings.waiting_tasks or self.queue.size >= self._settings.waiting_bytes

    @override
    async def outcomes(self) -> AsyncIterator[Sequence[Outcome]]:
        """Yield what has come since the last time; what was not yet yielded when the session was detached is the last bundle."""
        while True:
            while not self._ready:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            bundle, self._ready = self._ready, []
            taken, self._ready_bytes = self._ready_bytes, 0
            if taken >= self._settings.outcome_bytes:
                self._slots.dispatch()
            yield bundle

    @override
    async def close(self, *, destroy: bool) -> None:
        """End the session. The local grid keeps nothing of a detached session either: its next owner submits again what is unfinished."""
        if self._closed:
            return
        self._closed = True
        self.queue.clear()
        self._slots.drop(self, None)
        self._slots.leave(self)
        self._attempts.clear()
        if destroy:
            self._ready.clear()
        self._arrived.set()
        self._room.set()

    @override
    async def cancel(self, task_ids: Sequence[bytes]) -> None:
        """Take tasks back. The worker process of one that goes on for longer than ``cancel_grace`` is ended; its neighbours are run again."""
        wanted = frozenset(task_ids)
        gone = self.queue.remove(wanted) + self._slots.drop(self, wanted)
        self.fail(gone, failing.cancelled())
        self._make_room()
        self._slots.dispatch()

    @override
    async def suspend(self) -> None:
        """Start nothing more; what runs gets the session type's ``suspend_grace_period``."""
        if self.suspended_at is not None:
            return
        self.suspended_at = time.monotonic()
        self._slots.recall(self)
        self._slots.hold(self)

    @override
    async def resume(self) -> None:
        """Go on."""
        self.suspended_at = None
        self._slots.dispatch()

    @override
    async def update(self, common_data: bytes) -> None:
        """Replace the common data for tasks that begin from now on.

        The service sees it (``session_update``) when the next task begins; should it raise then, that counts as a failed ``session_enter``.
        """
        if self._closed:
            raise ConnectorError("the grid session is closed")
        self.common_data = common_data
        self.version += 1
        self._slots.recall(self)
        self._slots.dispatch()

    @override
    async def prioritise(self, priority: int) -> None:
        """Set the weight from now on."""
        self.weight = check_priority(priority)
        self._slots.dispatch()

    def take(self, count: int, size: int) -> list[GridTask]:
        """Take tasks for a worker process, and charge their expected time."""
        tasks = self.queue.take(count, size)
        self.used += (self.cost or 0.0) * len(tasks) / self.weight
        self._make_room()
        return tasks

    def _make_room(self) -> None:
        if not self._full():
            self._room.set()

    def put_back(self, tasks: Sequence[GridTask], cost: float) -> None:
        """Let tasks wait again that were taken at this cost each; they count as never begun."""
        if self._closed or not tasks:
            return
        self.used -= cost * len(tasks) / self.weight
        if self.aborted is None:
            self.queue.put_back(tasks)
        else:
            self.fail(tasks, self.aborted)

    def measure(self, results: Results, bundle: Bundle) -> None:
        """Learn what tasks take, and settle what was charged for them."""
        count = len(results.outputs) if results.plain else sum(answer is not None for answer in results.outputs)
        self.used += (results.seconds + results.enter_seconds - bundle.cost * count) / self.weight
        if results.enter_seconds:
            self.enter_seconds = results.enter_seconds
        if count:
            self._failed_enters = 0
            latest = results.seconds / count
            self.cost = latest if self.cost is None else (self.cost + latest) / 2

    def deliver(self, outcomes: Sequence[Outcome], size: int) -> None:
        """Give outcomes to the owner. ``size``: bytes of their outputs."""
        if self._closed:
            return
        self._ready.extend(outcomes)
        self._ready_bytes += size + _OUTCOME_BYTES * len(outcomes)
        # Up at once and down slowly: what is in the worker processes has to fit here when it comes.
        latest = size / len(outcomes)
        self.output_size = max(latest, (self.output_size + latest) / 2)
        if self._attempts:
            for outcome in outcomes:
                self._attempts.pop(outcome.task_id, None)
        self._arrived.set()

    def fail(self, tasks: Sequence[GridTask], exception: SymphonyException) -> None:
        """End tasks with an exception."""
        if tasks:
            now = time.time()
            self.deliver([Outcome(task.task_id, None, exception, now) for task in tasks], 0)

    def failed_run(self, task: GridTask, exception: SymphonyException, *, retry: bool) -> None:
        """Count a failed run: the task is run again, first in turn, or ends as failed."""
        attempts = self._attempts.get(task.task_id, 0) + 1
        if retry and attempts <= self.plan.session_type.task_retry_limit:
            self._attempts[task.task_id] = attempts
            self.put_back([task], 0.0)
            return
        self.fail([task], exception)
        if self.plan.session_type.abort_session_if_task_fail:
            self.abort(failing.session_aborted())

    def failed_enter(self, failure: Failure) -> None:
        """Count a failed entering: it is tried again, or ends all tasks of the session as failed."""
        self._failed_enters += 1
        if not failure.retry or self._failed_enters > self.plan.session_type.session_retry_limit:
            self.abort(failing.unfold(failure))

    def give_up(self, exception: SymphonyException) -> None:
        """End the tasks that wait with an exception; later ones may fare better."""
        self.fail(self.queue.clear(), exception)
        self._make_room()

    def abort(self, exception: SymphonyException) -> None:
        """End all tasks, also those that are submitted later, with an exception."""
        if self._closed or self.aborted is not None:
            return
        self.aborted = exception
        self.fail(self.queue.clear() + self._slots.drop(self, None), exception)
        self._room.set()
