"""Times single tasks: from the submission until the output is in the client's hands, with a long poll open, one task at a time."""

from __future__ import annotations

import asyncio
import secrets
import time

import msgspec
import uvloop

from benchmarks.load.api import Api, Target
from benchmarks.percentiles import percentile
from benchmarks.programs import Gate, perform

__all__ = ["RoundTripResult", "RoundTripSpec"]

_WARM_UP = 50
_WAIT = 20.0


class RoundTripSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How many."""

    target: Target
    tasks: int
    payload_bytes: int


class RoundTripResult(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of a whole round trip and of the submission alone."""

    p50_ms: float
    p99_ms: float
    submit_p50_ms: float


class _Pair:
    """A poll that is open and a submission that it will bring the output of."""

    def __init__(self, api: Api, target: Target) -> None:
        self._api = api
        self._session = target.session_id
        self._cursor = target.cursor

    async def round_trip(self, payload: bytes) -> tuple[float, float]:
        """Return the seconds until the output came and until the submission was answered."""
        async with asyncio.TaskGroup() as group:
            poll = group.create_task(self._poll(payload))
            # The poll's request leaves before the task's.
            await asyncio.sleep(0)
            began = time.perf_counter()
            submitted = group.create_task(self._submit(payload))
        return poll.result() - began, submitted.result() - began

    async def _poll(self, payload: bytes) -> float:
        answer = await self._api.fetch(self._session, self._cursor, count=10, wait=_WAIT)
        came = time.perf_counter()
        assert [output.output for output in answer.outputs] == [payload]
        self._cursor = answer.cursor
        return came

    async def _submit(self, payload: bytes) -> float:
        await self._api.submit_one(self._session, payload)
        return time.perf_counter()


async def _measure(spec: RoundTripSpec, gate: Gate) -> RoundTripResult:
    payload = secrets.token_bytes(spec.payload_bytes)
    async with Api(target=spec.target, connections=2) as api:
        pair = _Pair(api, spec.target)
        for _ in range(_WARM_UP):
            await pair.round_trip(payload)
        await asyncio.to_thread(gate.pass_through)
        times = [await pair.round_trip(payload) for _ in range(spec.tasks)]
    whole, submits = sorted(one for one, _ in times), sorted(two for _, two in times)
    return RoundTripResult(p50_ms=percentile(whole, 50) * 1000, p99_ms=percentile(whole, 99) * 1000, submit_p50_ms=percentile(submits, 50) * 1000)


def _work(spec: RoundTripSpec, gate: Gate) -> RoundTripResult:
    return uvloop.run(_measure(spec, gate))


if __name__ == "__main__":
    perform(RoundTripSpec, _work)
