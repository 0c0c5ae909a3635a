"""Submits tasks to one session with a fixed number of requests in flight."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator

import msgspec
import uvloop

from benchmarks.load.api import Api, Target
from benchmarks.percentiles import percentile
from benchmarks.programs import Gate, perform
from schemas.http import SubmitRequest, TaskSubmission

__all__ = ["SubmitResult", "SubmitSpec"]


class SubmitSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to submit: ``tasks`` in all, ``per_request`` at a time, by MessagePack."""

    target: Target
    tasks: int
    per_request: int
    in_flight: int
    payload_bytes: int


class SubmitResult(msgspec.Struct, frozen=True, kw_only=True):
    """When it began and ended, on this machine's monotonic clock, and how long a request took."""

    began: float
    ended: float
    requests: int
    refused: int
    p50_ms: float
    p99_ms: float


async def _measure(spec: SubmitSpec, gate: Gate) -> SubmitResult:
    async with Api(target=spec.target, connections=spec.in_flight) as api:
        # Handshakes are not part of a grid's steady work.
        await asyncio.gather(*(api.describe(spec.target.session_id) for _ in range(spec.in_flight)))
        await asyncio.to_thread(gate.pass_through)
        sizes = iter(_sizes(spec))
        times: list[float] = []
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(spec.in_flight):
                group.create_task(_submit(api, spec, sizes, times))
        ended = time.monotonic()
        times.sort()
        return SubmitResult(
            began=began, ended=ended, requests=len(times), refused=api.refused, p50_ms=percentile(times, 50) * 1000, p99_ms=percentile(times, 99) * 1000
        )


async def _submit(api: Api, spec: SubmitSpec, sizes: Iterator[int], times: list[float]) -> None:
    """Be one of the requests in flight until all tasks are submitted."""
    payload = secrets.token_bytes(spec.payload_bytes)
    for size in sizes:
        began = time.perf_counter()
        answer = await api.submit(spec.target.session_id, SubmitRequest(tasks=[TaskSubmission(task_input=payload)] * size))
        times.append(time.perf_counter() - began)
        assert len(answer.tasks) == size
        assert all(task.task_id and task.error is None for task in answer.tasks)


def _sizes(spec: SubmitSpec) -> list[int]:
    full, rest = divmod(spec.tasks, spec.per_request)
    return [spec.per_request] * full + [rest] * bool(rest)


def _work(spec: SubmitSpec, gate: Gate) -> SubmitResult:
    return uvloop.run(_measure(spec, gate))


if __name__ == "__main__":
    perform(SubmitSpec, _work)
