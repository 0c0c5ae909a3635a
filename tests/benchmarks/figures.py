"""The names of all figures that a run has."""

from __future__ import annotations

from typing import Final

__all__ = ["PEERS", "SLUICEWAY"]

PEERS: Final = frozenset({"celery_tasks_per_s", "celery_threads_tasks_per_s", "celery_prefork_tasks_per_s", "celery_latency_p50_ms", "dask_tasks_per_s"})
"""From the parts that need Celery and Dask."""

SLUICEWAY: Final = frozenset(
    {
        "raw_latency_p50_ms",
        "raw_latency_p99_ms",
        "bulk_tasks_per_s",
        "bulk_request_p50_ms",
        "single_tasks_per_s",
        "single_request_p50_ms",
        "fetch_tasks_per_s",
        "submit_tasks_per_s",
        "submit_requests_per_s",
        "latency_p50_ms",
        "latency_p99_ms",
        "latency_submit_p50_ms",
        "gateway_rss_mb",
        "bridge_rss_mb",
        "longpoll_sessions",
        "longpoll_gateway_rss_mb",
        "longpoll_bridge_rss_mb",
        "longpoll_submit_p50_ms",
        "longpoll_submit_p99_ms",
        "idle_submit_p50_ms",
        "million_seconds",
        "million_refused_requests",
        "million_gateway_rss_mb",
        "million_bridge_rss_mb",
    }
)
"""From all other parts."""
