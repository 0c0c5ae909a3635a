"""What this gateway counts, in Prometheus' terms."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["GatewayMetrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """The counters; labels are cached, since a look-up per request would cost more than the counting.

    Args:
        registry: This process' registry.
    """

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter("sluiceway_requests", "Requests answered.", ["operation", "status"], registry=registry)
        self._seconds = Histogram(
            "sluiceway_request_seconds", "From a request's head to the end of its answer.", ["operation"], buckets=_BUCKETS, registry=registry
        )
        self._tasks = Counter("sluiceway_tasks", "Task inputs accepted and task outputs handed out.", ["operation"], registry=registry)
        self._bytes = Counter("sluiceway_bytes", "Bytes of request bodies and answers.", ["direction"], registry=registry)
        self._bytes_in = self._bytes.labels("in")
        self._bytes_out = self._bytes.labels("out")
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self.lanes = Counter("sluiceway_lanes", "Lanes taken for new sessions, by what became of them.", ["outcome"], registry=registry)
        self.messages = Counter("sluiceway_input_messages", "Bundles of inputs published, by outcome.", ["outcome"], registry=registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value that is asked for when the metrics are read."""
        Gauge(f"sluiceway_{name}", text, registry=self._registry).set_function(value)

    def request(self, operation: str, status: int, seconds: float, *, received: int, sent: int, tasks: int) -> None:
        """Count one request."""
        counter = self._counters.get((operation, status))
        if counter is None:
            counter = self._counters[operation, status] = self._requests.labels(operation, str(status))
            self._histograms.setdefault(operation, self._seconds.labels(operation))
        counter.inc()
        self._histograms[operation].observe(seconds)
        self._bytes_in.inc(received)
        self._bytes_out.inc(sent)
        if tasks:
            self._tasks.labels(operation).inc(tasks)
