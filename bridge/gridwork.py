"""Between a session's owner and its grid session: hands tasks over as room allows, brings outcomes back as events."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from bridge.connectors.base import (
    Cancellable,
    Connector,
    ConnectorError,
    GridSession,
    GridTask,
    Prioritised,
    SessionOpening,
    SessionRefusedError,
    Suspendable,
    Updatable,
)
from bridge.events import Event, Finished, GridLost, GridOpened, GridRefused, Progressed
from runtime.logs import get_logger

__all__ = ["GridWork"]

_BUNDLE_TASKS: Final = 256
_BUNDLE_BYTES: Final = 1024 * 1024

_log = get_logger(__name__)


class GridWork:
    """The work of one session on its grid.

    Args:
        connector: The grid.
        tell: Takes the events.
        room: How many more tasks may be started now, by the session's quota of unacknowledged outputs.
        tasks: Where background work runs; it ends with the owner.
    """

    def __init__(self, *, connector: Connector, tell: Callable[[Event], None], room: Callable[[], int], tasks: asyncio.TaskGroup) -> None:
        self._connector = connector
        self._tell = tell
        self._room = room
        self._tasks = tasks
        self._session: GridSession | None = None
        self._queue: deque[GridTask | bytes] = deque()
        self._urgent: list[tuple[int, int, GridTask]] = []
        self._updates = 0
        self._turns = itertools.count()
        self._wake = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self.running: set[bytes] = set()
        self.opening = False
        self.held = False

    @property
    def queued(self) -> int:
        """Tasks that were not handed to the grid yet."""
        return len(self._queue) + len(self._urgent) - self._updates

    def open(self, opening: SessionOpening) -> None:
        """Begin to open the grid session; an event tells how it went."""
        self.opening = True
        self._background.append(self._tasks.create_task(self._open(opening)))

    def offer(self, task: GridTask) -> None:
        """Queue a task: one with a priority goes before all without and those with a lower one, but never ahead of a session update."""
        if task.priority is None or self._updates:
            self._queue.append(task)
        else:
            heapq.heappush(self._urgent, (-task.priority, next(self._turns), task))

    def offer_common_data(self, data: bytes) -> None:
        """Queue a session update: tasks behind it see the new data."""
        self._updates += 1
        self._queue.append(data)

    def knows(self, task: bytes) -> bool:
        """Whether the task was handed to the grid and has no outcome yet."""
        return task in self.running

    def wake(self) -> None:
        """Look again whether there is work and room."""
        self._wake.set()

    def withdraw(self, wanted: Callable[[GridTask], bool]) -> list[GridTask]:
        """Take back queued tasks that were not handed over yet."""
        taken = [item for item in self._queue if isinstance(item, GridTask) and wanted(item)]
        taken += [task for _, _, task in self._urgent if wanted(task)]
        if taken:
            gone = {task.task_id for task in taken}
            self._queue = deque(item for item in self._queue if not isinstance(item, GridTask) or item.task_id not in gone)
            self._urgent = [entry for entry in self._urgent if entry[2].task_id not in gone]
            heapq.heapify(self._urgent)
        return taken

    async def cancel(self, tasks: Iterable[bytes]) -> None:
        """Ask the grid to drop tasks that were handed over; each ends with an outcome."""
        wanted = [task for task in tasks if task in self.running]
        session: object = self._session
        if wanted and isinstance(session, Cancellable):
            await session.cancel(wanted)

    async def hold(self, *, suspended: bool) -> None:
        """Suspend or resume."""
        self.held = suspended
        session: object = self._session
        if isinstance(session, Suspendable):
            await (session.suspend() if suspended else session.resume())
        self.wake()

    async def prioritise(self, priority: int) -> None:
        """Set the session's weight where the grid knows one."""
        session: object = self._session
        if isinstance(session, Prioritised):
            await session.prioritise(priority)

    async def close(self, *, destroy: bool) -> None:
        """End the grid session and all background work. Idempotent."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()
        session, self._session = self._session, None
        self._queue.clear()
        self._urgent.clear()
        self._updates = 0
        self.running.clear()
        if session is not None:
            try:
                await session.close(destroy=destroy)
            except ConnectorError as exc:
                _log.warning("grid session could not be closed", error=str(exc))

    async def _open(self, opening: SessionOpening) -> None:
        try:
            session = await self._connector.open_session(opening)
        except SessionRefusedError as exc:
            self._tell(GridRefused(exc.code, exc.message))
            return
        except ConnectorError as exc:
            self.opening = False
            self._tell(GridLost(exc))
            return
        self._session = session
        if self.held and isinstance(session, Suspendable):
            await session.suspend()
        self._background.append(self._tasks.create_task(self._feed(session)))
        self._background.append(self._tasks.create_task(self._collect(session)))
        self._tell(GridOpened(session.native_id))

    async def _feed(self, session: GridSession) -> None:
        while True:
            self._wake.clear()
            item = self._next()
            try:
                if isinstance(item, bytes):
                    await self._update(session, item)
                elif item:
                    await session.submit(item)
                    self._tell(Progressed())
                else:
                    await self._wake.wait()
            except ConnectorError as exc:
                self._tell(GridLost(exc))
                return

    async def _update(self, session: GridSession, data: bytes) -> None:
        if not isinstance(session, Updatable):
            return
        try:
            await session.update(data)
        except SessionRefusedError as exc:
            _log.warning("the service refused new common data", reason=exc.message)

    def _next(self) -> list[GridTask] | bytes:
        """The next bundle within quota, or a session update when that comes first."""
        if self.held or not (self._queue or self._urgent):
            return []
        if not self._urgent and isinstance(self._queue[0], bytes):
            self._updates -= 1
            return self._take_update()
        room = min(self._room(), _BUNDLE_TASKS)
        bundle: list[GridTask] = []
        size = 0
        while len(bundle) < room and size < _BUNDLE_BYTES and (task := self._take_task()) is not None:
            bundle.append(task)
            size += len(task.payload)
        self.running.update(task.task_id for task in bundle)
        return bundle

    def _take_update(self) -> bytes:
        item = self._queue.popleft()
        return item if isinstance(item, bytes) else b""

    def _take_task(self) -> GridTask | None:
        if self._urgent:
            return heapq.heappop(self._urgent)[2]
        if self._queue and isinstance(self._queue[0], GridTask):
            item = self._queue.popleft()
            return item if isinstance(item, GridTask) else None
        return None

    async def _collect(self, session: GridSession) -> None:
        try:
            async for outcomes in session.outcomes():
                self.running.difference_update(outcome.task_id for outcome in outcomes)
                self._tell(Finished(outcomes))
        except ConnectorError as exc:
            self._tell(GridLost(exc))
