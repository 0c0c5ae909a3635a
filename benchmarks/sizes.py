"""How much each part of the benchmark does."""

from __future__ import annotations

import msgspec

__all__ = ["FULL", "QUICK", "Sizes"]


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one round; payloads in bytes."""

    payload_bytes: int = 1024
    raw_round_trips: int = 1000
    celery_tasks: int = 3000
    dask_tasks: int = 1000
    latency_tasks: int = 1000
    bulk_tasks: int = 60_000
    bulk_per_request: int = 100
    bulk_in_flight: int = 8
    fetch_tasks: int = 40_000
    """Lie finished and unacknowledged before they are fetched, so they have to fit a session's quota of 64 MiB."""
    fetch_count_max: int = 2000
    single_tasks: int = 10_000
    single_in_flight: int = 64
    longpoll_sessions: int = 800
    longpoll_submits: int = 500
    million_tasks: int = 1_000_000
    million_bytes: int = 100
    million_per_request: int = 1000
    million_in_flight: int = 4
    million_count_max: int = 10_000


FULL = Sizes()

QUICK = Sizes(
    raw_round_trips=200,
    celery_tasks=500,
    dask_tasks=200,
    latency_tasks=200,
    bulk_tasks=10_000,
    fetch_tasks=10_000,
    single_tasks=2000,
    longpoll_sessions=50,
    longpoll_submits=100,
    million_tasks=50_000,
)
"""For a first look: figures of runs this short say little."""
