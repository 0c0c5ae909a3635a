"""Keeps an application's worker processes alive: starts them, a few at a time, replaces lost ones, and backs off when none will start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from bridge.connectors.local.failing import describe_exit
from bridge.connectors.local.frames import Results, Start
from bridge.connectors.local.process import WorkerProcess
from bridge.connectors.local.profile import ApplicationProfile, LocalSettings
from bridge.connectors.local.starting import StartError, start_worker
from runtime.logs import get_logger

__all__ = ["Crew", "Employer"]

_log = get_logger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
"""Seconds between attempts to start a process that would not start."""


class Employer(Protocol):
    """What the crew tells of its worker processes."""

    def joined(self, worker: WorkerProcess) -> None:
        """A process is ready for tasks."""

    def lost(self, worker: WorkerProcess, status: int) -> None:
        """A process has ended, and everything that it had sent was read."""

    def unavailable(self, reason: str) -> None:
        """No process is left and none would start, ``start_attempts`` times in a row."""


class Crew:
    """The worker processes of one application.

    Args:
        settings: The grid's settings.
        profile: The application.
        starts: Bounds how many processes of the whole grid are starting at a time.
        employer: Whom they work for.
        on_results: Called for each frame of answers.
    """

    def __init__(
        self,
        *,
        settings: LocalSettings,
        profile: ApplicationProfile,
        starts: asyncio.Semaphore,
        employer: Employer,
        on_results: Callable[[WorkerProcess, Results], None],
    ) -> None:
        self._settings = settings
        self._profile = profile
        self._starts = starts
        self._employer = employer
        self._on_results = on_results
        self._keepers: list[asyncio.Task[None]] = []
        self._failures = 0
        self._attempted: list[asyncio.Future[str | None]] = []
        self._wanted = asyncio.Event()
        self._stopping = False
        self.workers: list[WorkerProcess] = []

    @property
    def size(self) -> int:
        """How many processes there are to be."""
        return self._profile.processes or self._settings.processes

    async def usable(self, group: asyncio.TaskGroup) -> str | None:
        """Wait until one process is ready; start all of them at the first call.

        Returns:
            None, or why no process would start.
        """
        if self.workers:
            return None
        if not self._keepers:
            self._keepers = [group.create_task(self._keep(), name=f"local {self._profile.name} {number}") for number in range(self.size)]
        attempted: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._attempted.append(attempted)
        self._wanted.set()
        return await attempted

    async def stop(self) -> None:
        """Let idle processes destroy their services, end all others, and return when none is left."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        workers, self.workers = self.workers, []
        try:
            async with asyncio.TaskGroup() as stopping:
                for worker in workers:
                    stopping.create_task(worker.finish(self._settings.stop_grace))
        finally:
            for worker in workers:
                worker.kill()

    async def _keep(self) -> None:
        """Keep one process alive for as long as the crew works."""
        try:
            await self._keep_on()
        finally:
            self._answer("the grid is closing")

    async def _keep_on(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping:
            worker = await self._start()
            if worker is None:
                await self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            status = await worker.ended()
            self.workers.remove(worker)
            _log.warning("worker process ended", application=self._profile.name, pid=worker.pid, status=describe_exit(status))
            self._employer.lost(worker, status)

    async def _start(self) -> WorkerProcess | None:
        start = Start(self._profile.service, self._settings.output_bytes, self._profile.python_path)
        try:
            async with self._starts:
                worker = await start_worker(start, within=self._settings.start_timeout, on_results=self._on_results)
        except (StartError, OSError) as error:
            self._failed(f"the service {self._profile.service} cannot be started: {error}")
            return None
        self._failures = 0
        self.workers.append(worker)
        self._answer(None)
        self._employer.joined(worker)
        return worker

    def _failed(self, reason: str) -> None:
        _log.warning("worker process not started", application=self._profile.name, reason=reason)
        self._failures += 1
        self._answer(reason)
        if not self.workers and self._failures >= self._settings.start_attempts:
            self._employer.unavailable(reason)

    def _answer(self, reason: str | None) -> None:
        waiting, self._attempted = self._attempted, []
        for future in waiting:
            if not future.done():
                future.set_result(reason)

    async def _rest(self, pause: float) -> None:
        """Wait before the next attempt: at least the shortest pause, and no longer than until somebody wants a process."""
        self._wanted.clear()
        await asyncio.sleep(_FIRST_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wanted.wait()
