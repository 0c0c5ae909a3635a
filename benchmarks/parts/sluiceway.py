"""The part that measures Sluiceway's rates and the latency of one task."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from benchmarks.bench import Bench
from benchmarks.deployment import Deployment
from benchmarks.load.api import Api, Target
from benchmarks.load.fetch import FetchResult, FetchSpec
from benchmarks.load.round_trip import RoundTripResult, RoundTripSpec
from benchmarks.load.submit import SubmitResult, SubmitSpec
from schemas.topology import ClusterTopology

__all__ = ["Flow", "measure_sluiceway", "run_flow"]

_TOPOLOGY: Final = ClusterTopology(cluster="bench", lanes=8)
_FINISH_WITHIN: Final = 120.0
_PAUSE: Final = 0.1


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that one client submits while another fetches."""

    tasks: int
    per_request: int
    in_flight: int
    payload_bytes: int
    count_max: int


async def measure_sluiceway(bench: Bench) -> dict[str, float]:
    """Measure one fresh gateway and one fresh bridge."""
    async with bench.deployment(_TOPOLOGY) as deployment:
        return {
            **await _latency(bench, deployment),
            **await _bulk(bench, deployment),
            **await _single(bench, deployment),
            **await _submit_requests(bench, deployment),
            **await _submit_then_fetch(bench, deployment),
            "gateway_rss_mb": deployment.peak_mib("gateway"),
            "bridge_rss_mb": deployment.peak_mib("bridge"),
        }


async def run_flow(bench: Bench, target: Target, flow: Flow) -> tuple[SubmitResult, FetchResult]:
    """Let both clients begin together and wait until all outputs are acknowledged."""
    fetch = FetchSpec(target=target, tasks=flow.tasks, count_max=flow.count_max, payload_bytes=flow.payload_bytes)
    async with bench.program("benchmarks.load.fetch", fetch) as fetching, bench.program("benchmarks.load.submit", _submit(target, flow)) as submitting:
        await asyncio.gather(fetching.go(), submitting.go())
        return await submitting.result(SubmitResult), await fetching.result(FetchResult)


def _submit(target: Target, flow: Flow) -> SubmitSpec:
    return SubmitSpec(target=target, tasks=flow.tasks, per_request=flow.per_request, in_flight=flow.in_flight, payload_bytes=flow.payload_bytes)


def _bulk_flow(bench: Bench, tasks: int) -> Flow:
    sizes = bench.sizes
    return Flow(
        tasks=tasks,
        per_request=sizes.bulk_per_request,
        in_flight=sizes.bulk_in_flight,
        payload_bytes=sizes.payload_bytes,
        count_max=sizes.fetch_count_max,
    )


def _single_flow(bench: Bench) -> Flow:
    sizes = bench.sizes
    return Flow(tasks=sizes.single_tasks, per_request=1, in_flight=sizes.single_in_flight, payload_bytes=sizes.payload_bytes, count_max=sizes.fetch_count_max)


async def _latency(bench: Bench, deployment: Deployment) -> dict[str, float]:
    async with deployment.open_session() as target:
        spec = RoundTripSpec(target=target, tasks=bench.sizes.latency_tasks, payload_bytes=bench.sizes.payload_bytes)
        result = await bench.run("benchmarks.load.round_trip", spec, RoundTripResult)
    return {"latency_p50_ms": result.p50_ms, "latency_p99_ms": result.p99_ms, "latency_submit_p50_ms": result.submit_p50_ms}


async def _bulk(bench: Bench, deployment: Deployment) -> dict[str, float]:
    flow = _bulk_flow(bench, bench.sizes.bulk_tasks)
    async with deployment.open_session() as target:
        submitted, fetched = await run_flow(bench, target, flow)
    return {"bulk_tasks_per_s": flow.tasks / (fetched.ended - submitted.began), "bulk_request_p50_ms": submitted.p50_ms}


async def _single(bench: Bench, deployment: Deployment) -> dict[str, float]:
    flow = _single_flow(bench)
    async with deployment.open_session() as target:
        submitted, fetched = await run_flow(bench, target, flow)
    return {"single_tasks_per_s": flow.tasks / (fetched.ended - submitted.began), "single_request_p50_ms": submitted.p50_ms}


async def _submit_requests(bench: Bench, deployment: Deployment) -> dict[str, float]:
    """Submit one task per request while nobody fetches."""
    async with deployment.open_session() as target:
        result = await bench.run("benchmarks.load.submit", _submit(target, _single_flow(bench)), SubmitResult)
    return {"submit_requests_per_s": result.requests / (result.ended - result.began)}


async def _submit_then_fetch(bench: Bench, deployment: Deployment) -> dict[str, float]:
    """Submit in bulk while nobody fetches; when all tasks are finished, fetch while nobody submits."""
    flow = _bulk_flow(bench, bench.sizes.fetch_tasks)
    async with deployment.open_session() as target:
        submitted = await bench.run("benchmarks.load.submit", _submit(target, flow), SubmitResult)
        await _finished(target, flow.tasks)
        spec = FetchSpec(target=target, tasks=flow.tasks, count_max=flow.count_max, payload_bytes=flow.payload_bytes)
        fetched = await bench.run("benchmarks.load.fetch", spec, FetchResult)
    return {
        "submit_tasks_per_s": flow.tasks / (submitted.ended - submitted.began),
        "fetch_tasks_per_s": flow.tasks / (fetched.ended - fetched.began),
    }


async def _finished(target: Target, tasks: int) -> None:
    async with Api(target=target, connections=1) as api, asyncio.timeout(_FINISH_WITHIN):
        while (await api.describe(target.session_id)).tasks.done < tasks:  # noqa: ASYNC110 - it is asked in another process
            await asyncio.sleep(_PAUSE)
