"""A grid for simulations: it gives every run another output, after a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from typing_extensions import override

from bridge.connectors.base import Connector, GridSession, GridTask, Outcome, SessionOpening

__all__ = ["SimGrid"]


class SimGrid(Connector):
    """Gives every run another output, after a while."""

    kind: ClassVar[str] = "sim"

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.runs = 0

    @property
    @override
    def applications(self) -> Sequence[str]:
        return ("echo",)

    @property
    @override
    def slots(self) -> int:
        return 4

    @override
    async def open_session(self, opening: SessionOpening) -> GridSession:
        return _Session(self)

    @override
    async def aclose(self) -> None:
        """Nothing to let go of."""


class _Session(GridSession):
    def __init__(self, grid: SimGrid) -> None:
        self._grid = grid
        self._done: asyncio.Queue[Sequence[Outcome]] = asyncio.Queue()

    @property
    @override
    def native_id(self) -> str:
        return "n"

    @override
    async def submit(self, tasks: Sequence[GridTask]) -> None:
        loop = asyncio.get_running_loop()
        for task in tasks:
            self._grid.runs += 1
            outcome = Outcome(task.task_id, b"%d" % self._grid.runs)
            loop.call_later(self._grid.rng.uniform(0.01, 1.0), self._done.put_nowait, [outcome])

    @override
    async def outcomes(self) -> AsyncIterator[Sequence[Outcome]]:
        while True:
            yield await self._done.get()

    @override
    async def close(self, *, destroy: bool) -> None:
        """Nothing to end."""
