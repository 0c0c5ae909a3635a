"""Holds one long poll open for each of many sessions, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import uvloop

from benchmarks.load.api import Api, Target
from benchmarks.programs import Gate, perform
from schemas.http import FetchAnswer

__all__ = ["CrowdResult", "CrowdSpec"]

_WAIT = 30.0
_OPENING = 32
_OUTPUTS_WITHIN = 30.0


class CrowdSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions, each as a target, and how many outputs they will have had at the end."""

    targets: Sequence[Target]
    outputs: int


class CrowdResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many polls were answered and how many outputs they brought."""

    polls: int
    outputs: int


class _Crowd:
    """All polls of the program."""

    def __init__(self, api: Api, outputs: int) -> None:
        self._api = api
        self._expected = outputs
        self._complete = asyncio.Event()
        self._opening = asyncio.Semaphore(_OPENING)
        self.polls = 0
        self.outputs = 0

    async def open(self, target: Target) -> str:
        """Poll once without waiting; return the cursor."""
        async with self._opening:
            answer = await self._api.fetch(target.session_id, target.cursor, count=10_000, wait=0)
        self._count(answer)
        return answer.cursor

    async def keep_polling(self, target: Target, cursor: str) -> None:
        """Come back with every answer's cursor."""
        while True:
            answer = await self._api.fetch(target.session_id, cursor, count=10_000, wait=_WAIT)
            self._count(answer)
            cursor = answer.cursor

    async def complete(self) -> None:
        """Wait until all outputs came."""
        async with asyncio.timeout(_OUTPUTS_WITHIN):
            await self._complete.wait()

    def _count(self, answer: FetchAnswer) -> None:
        self.polls += 1
        self.outputs += len(answer.outputs)
        if self.outputs >= self._expected:
            self._complete.set()


async def _measure(spec: CrowdSpec, gate: Gate) -> CrowdResult:
    async with Api(target=spec.targets[0], connections=len(spec.targets)) as api:
        crowd = _Crowd(api, spec.outputs)
        cursors = await asyncio.gather(*(crowd.open(target) for target in spec.targets))
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(crowd.keep_polling(target, cursor)) for target, cursor in zip(spec.targets, cursors, strict=True)]
            # All are open when the gate says ready; the word to go ends them.
            await asyncio.sleep(1)
            await asyncio.to_thread(gate.pass_through)
            await crowd.complete()
            for poll in polls:
                poll.cancel()
    return CrowdResult(polls=crowd.polls, outputs=crowd.outputs)


def _work(spec: CrowdSpec, gate: Gate) -> CrowdResult:
    return uvloop.run(_measure(spec, gate))


if __name__ == "__main__":
    perform(CrowdSpec, _work)
