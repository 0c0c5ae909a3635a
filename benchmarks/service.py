"""The service that the benchmark's grid runs: it gives back what it gets."""

from __future__ import annotations

from typing_extensions import override

from bridge.services import Service, TaskContext

__all__ = ["Echo"]


class Echo(Service):
    """A task without work: what is measured is everything around it."""

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Return the input."""
        return task.payload
