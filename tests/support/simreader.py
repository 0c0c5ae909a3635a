"""Reads the journal of a simulated lane, as ``StreamReader`` reads a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Self

from broker.errors import BrokerUnavailableError
from broker.journal.stream import StreamRecord
from tests.support.simlane import SimBroker, SimLane

__all__ = ["SimReader", "sim_last_records"]


class SimReader:
    """A stream consumer."""

    def __init__(self, lane: SimLane, at: int, *, silent: bool) -> None:
        self._lane = lane
        self._next = at
        self._silent = silent
        self.broken = False

    @classmethod
    @asynccontextmanager
    async def attach(cls, broker: SimBroker, queue: str, at: int | Literal["first"]) -> AsyncIterator[Self]:
        """Open a reader."""
        del queue
        lane = broker.lane
        await asyncio.sleep(lane.rng.uniform(0.001, 0.05))
        reader = cls(lane, 0 if at == "first" else at, silent=broker.silent)
        lane.readers.append(reader)
        try:
            yield reader
        finally:
            lane.readers.remove(reader)

    def cut(self, kept: int) -> None:
        """Records from ``kept`` on were lost."""
        self.broken = self.broken or (not self._silent and self._next > kept)

    async def read(self, within: float | None = None) -> list[StreamRecord]:
        """Return what lies ready; wait for the first."""
        lane = self._lane
        end = None if within is None else lane.loop.time() + within
        while len(lane.log) <= self._next and not self.broken:
            left = None if end is None else end - lane.loop.time()
            if left is not None and left <= 0:
                return []
            try:
                async with asyncio.timeout(left):
                    await lane.changed.wait()
            except TimeoutError:
                return []
        if lane.rng.random() < lane.faults.slow:
            await asyncio.sleep(lane.pause())
        if self.broken:
            raise BrokerUnavailableError("the reader was lost")
        records = lane.log[self._next :]
        self._next += len(records)
        return records


async def sim_last_records(broker: SimBroker, queue: str) -> list[StreamRecord]:
    """Return the last chunk: some of the newest records."""
    del queue
    await asyncio.sleep(broker.lane.rng.uniform(0.001, 0.05))
    return broker.lane.log[-broker.lane.rng.randint(1, 4) :]
