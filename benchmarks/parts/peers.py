"""The parts that measure what Sluiceway is compared with."""

from __future__ import annotations

import secrets

from benchmarks.bench import Bench
from benchmarks.deployment import GRID_PROCESSES
from benchmarks.peers.raw import RawResult, RawSpec
from benchmarks.peers.records import CeleryResult, CelerySpec, DaskResult, DaskSpec

__all__ = ["measure_celery", "measure_dask", "measure_raw"]


async def measure_raw(bench: Bench) -> dict[str, float]:
    """Measure the floor of a round trip on this broker."""
    sizes = bench.sizes
    spec = RawSpec(url=bench.broker_url, round_trips=sizes.raw_round_trips, payload_bytes=sizes.payload_bytes)
    result = await bench.run("benchmarks.peers.raw", spec, RawResult)
    return {"raw_latency_p50_ms": result.p50_ms, "raw_latency_p99_ms": result.p99_ms}


async def measure_celery(bench: Bench) -> dict[str, float]:
    """Measure both pools of Celery; the better one counts."""
    threads, prefork = await _pool(bench, "threads"), await _pool(bench, "prefork")
    return {
        "celery_tasks_per_s": max(threads.tasks_per_s, prefork.tasks_per_s),
        "celery_threads_tasks_per_s": threads.tasks_per_s,
        "celery_prefork_tasks_per_s": prefork.tasks_per_s,
        "celery_latency_p50_ms": min(threads.p50_ms, prefork.p50_ms),
    }


async def _pool(bench: Bench, pool: str) -> CeleryResult:
    spec = CelerySpec(
        url=bench.broker_url,
        pool=pool,
        concurrency=GRID_PROCESSES,
        queue=f"bench.celery.{secrets.token_hex(4)}",
        tasks=bench.sizes.celery_tasks,
        payload_bytes=bench.sizes.payload_bytes,
    )
    async with bench.program("benchmarks.peers.celery_worker", spec) as worker:
        await worker.go()
        # The client's warm-up waits until the worker answers.
        return await bench.run("benchmarks.peers.celery_load", spec, CeleryResult)


async def measure_dask(bench: Bench) -> dict[str, float]:
    """Measure Dask distributed, which does without the broker."""
    spec = DaskSpec(tasks=bench.sizes.dask_tasks, payload_bytes=bench.sizes.payload_bytes, processes=GRID_PROCESSES)
    result = await bench.run("benchmarks.peers.dask_load", spec, DaskResult)
    return {"dask_tasks_per_s": result.tasks_per_s}
