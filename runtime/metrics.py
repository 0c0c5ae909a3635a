"""The metrics registry of one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector

__all__ = ["process_registry"]


def process_registry(*, role: str, name: str) -> CollectorRegistry:
    """Return a registry of this process' own, already with memory, processor time, garbage collection and platform.

    The library's global registry stays empty, so that two processes' worth of parts can live in one test.

    Args:
        role: ``gateway`` or ``bridge``.
        name: The name of this process among those of its role.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("sluiceway_process", "Which process of Sluiceway this is.", registry=registry).info({"role": role, "name": name})
    return registry
