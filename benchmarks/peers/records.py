"""What the peers' programs are asked and answer; needs none of their libraries."""

from __future__ import annotations

import msgspec

__all__ = ["CeleryResult", "CelerySpec", "DaskResult", "DaskSpec"]


class CelerySpec(msgspec.Struct, frozen=True, kw_only=True):
    """What worker and client get; ``url`` carries the password."""

    url: str
    pool: str
    concurrency: int
    queue: str
    tasks: int
    payload_bytes: int


class CeleryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one pool did."""

    tasks_per_s: float
    p50_ms: float
    """Of one task, with nothing else under way."""


class DaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How much."""

    tasks: int
    payload_bytes: int
    processes: int


class DaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What it did."""

    tasks_per_s: float
