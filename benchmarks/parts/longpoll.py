"""The part with many sessions that all wait for outputs at one gateway."""

from __future__ import annotations

import asyncio

import msgspec

from benchmarks.bench import Bench
from benchmarks.deployment import Deployment
from benchmarks.load.api import Api, Target
from benchmarks.load.crowd import CrowdResult, CrowdSpec
from benchmarks.load.submit import SubmitResult, SubmitSpec
from schemas.topology import ClusterTopology, LaneLimits

__all__ = ["measure_longpoll"]

_SPARE_LANES = 8
_AT_ONCE = 16
_OUTPUT_WITHIN = 20.0
_MIB = 1024 * 1024


async def measure_longpoll(bench: Bench) -> dict[str, float]:
    """Time submissions through an idle gateway, then while every session has a long poll open there."""
    count = bench.sizes.longpoll_sessions
    # Lanes of the usual size would be allowed more disk than many machines have.
    topology = ClusterTopology(cluster="crowd", lanes=count + _SPARE_LANES, limits=LaneLimits(input_bytes=4 * _MIB, output_quota=4 * _MIB))
    async with bench.deployment(topology) as deployment:
        targets = await _sessions(deployment, count)
        idle = await _submissions(bench, targets[0])
        spec = CrowdSpec(targets=targets, outputs=2 * bench.sizes.longpoll_submits)
        async with bench.program("benchmarks.load.crowd", spec) as crowd:
            crowded = await _submissions(bench, targets[0])
            await crowd.go()
            result = await crowd.result(CrowdResult)
        assert result.outputs == spec.outputs
        return {
            "longpoll_sessions": float(count),
            "longpoll_gateway_rss_mb": deployment.peak_mib("gateway"),
            "longpoll_bridge_rss_mb": deployment.peak_mib("bridge"),
            "longpoll_submit_p50_ms": crowded.p50_ms,
            "longpoll_submit_p99_ms": crowded.p99_ms,
            "idle_submit_p50_ms": idle.p50_ms,
        }


async def _sessions(deployment: Deployment, count: int) -> list[Target]:
    """Create sessions that each have done a task; those that nobody ever used are closed by their owner after a minute."""
    async with Api(target=deployment.target, connections=_AT_ONCE) as api:
        connection = await deployment.connect(api)
        several = asyncio.Semaphore(_AT_ONCE)

        async def create() -> Target:
            async with several:
                target = await deployment.session(api, connection)
                await api.submit_one(target.session_id, b"first")
                answer = await api.fetch(target.session_id, target.cursor, count=1, wait=_OUTPUT_WITHIN)
                assert [output.output for output in answer.outputs] == [b"first"]
                await api.fetch(target.session_id, answer.cursor, count=1, wait=0)
            return msgspec.structs.replace(target, cursor=answer.cursor)

        return list(await asyncio.gather(*(create() for _ in range(count))))


async def _submissions(bench: Bench, target: Target) -> SubmitResult:
    """Submit one task after the other to one of the sessions."""
    sizes = bench.sizes
    spec = SubmitSpec(target=target, tasks=sizes.longpoll_submits, per_request=1, in_flight=1, payload_bytes=sizes.payload_bytes)
    return await bench.run("benchmarks.load.submit", spec, SubmitResult)
