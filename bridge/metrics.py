"""What operators watch of a bridge worker."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

__all__ = ["BridgeMetrics"]


class BridgeMetrics:
    """The metrics of one worker.

    Args:
        registry: The process' registry.
    """

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.sessions = Gauge("sluiceway_bridge_sessions", "Sessions that this worker owns.", registry=registry)
