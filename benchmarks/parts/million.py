"""The part with one very long session."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.parts.sluiceway import Flow, run_flow
from schemas.topology import ClusterTopology

__all__ = ["measure_million"]


async def measure_million(bench: Bench) -> dict[str, float]:
    """Pass a million small tasks through one session of a fresh gateway and a fresh bridge."""
    sizes = bench.sizes
    flow = Flow(
        tasks=sizes.million_tasks,
        per_request=sizes.million_per_request,
        in_flight=sizes.million_in_flight,
        payload_bytes=sizes.million_bytes,
        count_max=sizes.million_count_max,
    )
    async with bench.deployment(ClusterTopology(cluster="million", lanes=1)) as deployment, deployment.open_session() as target:
        submitted, fetched = await run_flow(bench, target, flow)
        return {
            "million_seconds": fetched.ended - submitted.began,
            "million_refused_requests": float(submitted.refused),
            "million_gateway_rss_mb": deployment.peak_mib("gateway"),
            "million_bridge_rss_mb": deployment.peak_mib("bridge"),
        }
