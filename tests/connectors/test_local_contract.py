"""The connectors' contract, shown by the local grid, calm and with worker processes that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from bridge.connectors.local.connector import LocalConnector
from bridge.connectors.local.profile import ApplicationProfile, LocalSettings, SessionType
from tests.connectors.contract import ConnectorContract, Gate, gate
from tests.connectors.grids import Grid

__all__ = ["Gate", "gate"]

_TYPES = (
    SessionType(name="default"),
    SessionType(name="stubborn", task_retry_limit=100, session_retry_limit=100),
    SessionType(name="strict", task_retry_limit=0, abort_session_if_task_fail=True),
    SessionType(name="hasty", suspend_grace_period=0.1),
)


def _settings(processes: int) -> LocalSettings:
    return LocalSettings(
        applications=(
            ApplicationProfile(name="probe", service="tests.connectors.probes:Probe", invoke_timeout=20, session_types=_TYPES),
            ApplicationProfile(name="diary", service="tests.connectors.probes:Diary", session_types=_TYPES),
        ),
        processes=processes,
    )


class TestLocal(ConnectorContract):
    """The local grid."""

    @pytest.fixture(params=["calm", "flaky"])
    async def grid(self, request: pytest.FixtureRequest) -> AsyncIterator[Grid]:
        """A grid of two processes; the flaky one loses a process at each disturbance."""
        async with LocalConnector(settings=_settings(2)) as connector:

            async def disturb() -> None:
                workers = connector._pools["probe"].crew.workers
                with suppress(ProcessLookupError):
                    os.kill(workers[0].pid, signal.SIGKILL) if workers else None

            yield Grid(connector, disturb=disturb if request.param == "flaky" else None)

    @pytest.fixture
    async def single(self) -> AsyncIterator[Grid]:
        """A grid of one process, so that order can be told."""
        async with LocalConnector(settings=_settings(1)) as connector:
            yield Grid(connector)
