"""Fetches and acknowledges a session's outputs by one cursor, and checks that each came once."""

from __future__ import annotations

import asyncio
import time

import msgspec
import uvloop

from benchmarks.load.api import Api, Target
from benchmarks.programs import Gate, perform

__all__ = ["FetchResult", "FetchSpec"]

_WAIT = 20.0


class FetchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How many outputs there will be, and how many an answer may bring."""

    target: Target
    tasks: int
    count_max: int
    payload_bytes: int


class FetchResult(msgspec.Struct, frozen=True, kw_only=True):
    """When it began, and when the last output was there and acknowledged, on this machine's monotonic clock."""

    began: float
    ended: float
    polls: int


async def _measure(spec: FetchSpec, gate: Gate) -> FetchResult:
    session, cursor = spec.target.session_id, spec.target.cursor
    async with Api(target=spec.target, connections=1) as api:
        await api.describe(session)
        await asyncio.to_thread(gate.pass_through)
        began = time.monotonic()
        seen = set[str]()
        got = polls = 0
        while got < spec.tasks:
            answer = await api.fetch(session, cursor, count=spec.count_max, wait=_WAIT)
            polls += 1
            got += len(answer.outputs)
            cursor = answer.cursor
            for output in answer.outputs:
                assert output.successful, output.exception
                assert isinstance(output.output, bytes)
                assert len(output.output) == spec.payload_bytes
                seen.add(output.task_id)
        # Coming back with the cursor is the acknowledgement.
        rest = await api.fetch(session, cursor, count=spec.count_max, wait=0)
        ended = time.monotonic()
        assert not rest.outputs
        assert len(seen) == got == spec.tasks
        return FetchResult(began=began, ended=ended, polls=polls)


def _work(spec: FetchSpec, gate: Gate) -> FetchResult:
    return uvloop.run(_measure(spec, gate))


if __name__ == "__main__":
    perform(FetchSpec, _work)
