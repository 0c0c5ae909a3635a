"""The ``local`` kind of grid as a connector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

from typing_extensions import override

from bridge.connectors.base import Connector, ConnectorError, SessionOpening, SessionRefusedError
from bridge.connectors.local.pool import ApplicationPool
from bridge.connectors.local.profile import LocalSettings, plan_session
from bridge.connectors.local.session import LocalSession

__all__ = ["LocalConnector"]


class LocalConnector(Connector):
    """Runs services in worker processes on this machine.

    A service that cannot be imported or created does not keep the bridge from starting: other applications may be well, and only a
    worker process may run a service's code. ``open_session`` is then refused with ``service-unavailable`` and the reason, and each
    later call tries again.

    Sessions are kept in this process only: one whose owner is gone does not exist any more, and its successor starts with a new one.

    Args:
        settings: The ``[connector]`` section.
    """

    kind: ClassVar[str] = "local"

    def __init__(self, *, settings: LocalSettings) -> None:
        starts = asyncio.Semaphore(settings.parallel_starts)
        self._settings = settings
        self._pools = {profile.name: ApplicationPool(settings=settings, profile=profile, starts=starts) for profile in settings.applications}
        self._group: asyncio.TaskGroup | None = None

    @override
    async def __aenter__(self) -> Self:
        """Get ready; worker processes start with the first session of their application."""
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    @override
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of everything."""
        await self.aclose()

    @override
    async def open_session(self, opening: SessionOpening) -> LocalSession:
        """Open a session under its application profile, once a worker process is ready.

        Raises:
            SessionRefusedError: ``unknown-application``, ``unknown-session-type``, or ``service-unavailable`` with the reason.
            ConnectorError: The connector is closed.
        """
        plan = plan_session(self._settings, opening)
        if self._group is None:
            raise ConnectorError("the local grid is closed")
        pool = self._pools[plan.application.name]
        problem = await pool.open(self._group)
        if problem is not None:
            raise SessionRefusedError("service-unavailable", problem)
        session = LocalSession(opening=opening, plan=plan, settings=self._settings, slots=pool)
        pool.admit(session)
        return session

    @override
    async def aclose(self) -> None:
        """Detach all sessions and end all worker processes; when it returns none is left."""
        group, self._group = self._group, None
        if group is None:
            return
        try:
            async with asyncio.TaskGroup() as closing:
                for pool in self._pools.values():
                    closing.create_task(pool.close())
        finally:
            await group.__aexit__(None, None, None)

    @property
    @override
    def applications(self) -> Sequence[str]:
        """The names of the application profiles."""
        return tuple(self._pools)

    @property
    @override
    def slots(self) -> int:
        """Worker processes of all applications."""
        return sum(pool.crew.size for pool in self._pools.values())
