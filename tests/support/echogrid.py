"""A fake grid that gives each input back as its output and remembers what it ran; stands in where a test is about the owner alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from typing_extensions import override

from bridge.connectors.base import Cancellable, Connector, GridSession, GridTask, Outcome, SessionOpening, SessionRefusedError, Updatable
from bridge.connectors.local.profile import LocalSettings
from schemas.symphony import ErrorType, SymphonyException

__all__ = ["EchoConnector"]


class EchoConnector(Connector):
    """Echoes inputs.

    Args:
        stuck: Take tasks and never finish one.
    """

    kind: ClassVar[str] = "echo"

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.runs: list[tuple[bytes, bytes]] = []
        self.common: list[bytes] = []

    @staticmethod
    def settings() -> LocalSettings:
        """Settings that name no application: this grid needs none."""
        return LocalSettings(applications=())

    @property
    @override
    def applications(self) -> Sequence[str]:
        return ("echo",)

    @property
    @override
    def slots(self) -> int:
        return 1

    @override
    async def open_session(self, opening: SessionOpening) -> GridSession:
        if opening.application not in self.applications:
            raise SessionRefusedError("unknown-application", f"no application {opening.application}")
        if opening.common_data is not None:
            self.common.append(opening.common_data)
        return _EchoSession(self, opening.sid)

    @override
    async def aclose(self) -> None:
        """Nothing to let go of."""


class _EchoSession(GridSession, Cancellable, Updatable):
    def __init__(self, grid: EchoConnector, sid: bytes) -> None:
        self._grid = grid
        self._sid = sid
        self._done: asyncio.Queue[Sequence[Outcome]] = asyncio.Queue()

    @property
    @override
    def native_id(self) -> str:
        return self._sid.hex()[:8]

    @override
    async def submit(self, tasks: Sequence[GridTask]) -> None:
        self._grid.runs.extend((task.task_id, task.payload) for task in tasks)
        if not self._grid.stuck:
            self._done.put_nowait([Outcome(task.task_id, task.payload, None, time.time()) for task in tasks])

    @override
    async def outcomes(self) -> AsyncIterator[Sequence[Outcome]]:
        while True:
            yield await self._done.get()

    @override
    async def cancel(self, task_ids: Sequence[bytes]) -> None:
        gone = SymphonyException(error_type=ErrorType.CANCELLED.value, code="cancelled", message="cancelled")
        self._done.put_nowait([Outcome(task, None, gone, time.time()) for task in task_ids])

    @override
    async def update(self, common_data: bytes) -> None:
        self._grid.common.append(common_data)

    @override
    async def close(self, *, destroy: bool) -> None:
        """Nothing to end."""
