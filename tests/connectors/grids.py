"""What the contract asks of a grid under test, and how its tests submit and collect."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bridge.connectors.base import Connector, GridSession, GridTask, Outcome, SessionOpening
from schemas.symphony import SessionCreationAttributes

__all__ = ["Grid", "Inbox", "order", "task_id"]


def task_id(number: int) -> bytes:
    """A task id that tells its number."""
    return number.to_bytes(24, "big")


def order(number: int, do: str, *, tag: str = "", priority: int | None = None, timeout: float | None = None, **details: object) -> GridTask:
    """A task input for ``probes.Probe``."""
    return GridTask(task_id(number), msgspec.msgpack.encode({"do": do, **details}), tag, priority, timeout)


class Inbox:
    """Collects a session's outcomes and refuses a second one for the same task."""

    def __init__(self, session: GridSession) -> None:
        self._bundles = session.outcomes()
        self._waiting: list[Outcome] = []
        self._seen: set[bytes] = set()

    async def take(self, count: int, *, within: float = 20) -> list[Outcome]:
        """Return the next ``count`` outcomes in the order in which they came."""
        async with asyncio.timeout(within):
            while len(self._waiting) < count:
                self._note(await anext(self._bundles))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def rest(self, *, within: float = 20) -> list[Outcome]:
        """Return everything until the session's end."""
        async with asyncio.timeout(within):
            async for bundle in self._bundles:
                self._note(bundle)
        taken, self._waiting = self._waiting, []
        return taken

    def _note(self, bundle: Sequence[Outcome]) -> None:
        for outcome in bundle:
            assert outcome.task_id not in self._seen, "a second outcome for one task"
            assert (outcome.payload is None) == (outcome.exception is not None)
            assert outcome.finished_at > 0
            self._seen.add(outcome.task_id)
            self._waiting.append(outcome)


class Grid:
    """A grid under test: a connector with an application ``probe`` that runs ``probes.Probe`` and ``diary`` that runs ``probes.Diary``.

    Session types of both: ``default`` (one retry), ``stubborn`` (100 retries), ``strict`` (no retry, a failed task aborts the session), ``hasty``
    (running tasks get 0.1 s when the session is suspended). ``probe`` has an invoke time limit of 20 s.

    Args:
        connector: The connector, connected.
        disturb: Called now and then by a flaky grid: breaks something that the grid has to survive.
    """

    def __init__(self, connector: Connector, *, disturb: Callable[[], Awaitable[None]] | None = None) -> None:
        self.connector = connector
        self.disturb = disturb
        self._numbers = itertools.count(1)

    async def open(self, application: str = "probe", *, common_data: bytes | None = None, **attributes: object) -> GridSession:
        """Open a session with these attributes."""
        return await self.connector.open_session(
            SessionOpening(
                sid=next(self._numbers).to_bytes(4, "big") + os.urandom(12),
                grid="TEST",
                application=application,
                principal="quant",
                attributes=msgspec.convert(attributes, SessionCreationAttributes),
                common_data=common_data,
            )
        )
