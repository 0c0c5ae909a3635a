"""Task inputs as users give them, and how they are cut into requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluiceway.codecs import Codec, Value
from sluiceway.records import TaskSubmission

__all__ = ["BulkLimits", "TaskInput", "encode_task", "split", "task_size"]

_OVERHEAD = 64
"""Bytes that one task adds to a request beside its input, tag and numbers: generous, so that limits hold."""


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """A task input with attributes of its own; a bare value does where none is needed.

    Args:
        value: What the session's codec encodes.
        tag: Up to 128 letters, digits, ``-`` and ``_``; comes back with the output, and ``cancel(tag=...)`` takes it.
        priority: The order among the session's waiting tasks, where the grid knows it.
        timeout: Seconds that a run of the task may take on the grid.
    """

    value: Value
    tag: str | None = None
    priority: int | None = None
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True)
class BulkLimits:
    """How much goes into one request, and how many requests go out at once."""

    count: int = 1_000
    size: int = 4 * 1024 * 1024
    """Bytes of a request; a single larger task travels alone."""
    requests: int = 4


def encode_task(task: TaskInput | Value, codec: Codec) -> TaskSubmission:
    """Return the record that goes out for a task input.

    Raises:
        CodecError: The value does not fit the codec.
    """
    if not isinstance(task, TaskInput):
        return TaskSubmission(task_input=codec.encode(task))
    return TaskSubmission(task_input=codec.encode(task.value), tag=task.tag, task_priority=task.priority, timeout_in_sec=task.timeout)


def task_size(task: TaskSubmission) -> int:
    """Return about how many bytes a task takes in a request."""
    return len(task.task_input) + len(task.tag or "") + _OVERHEAD


def split(tasks: Sequence[TaskSubmission], limits: BulkLimits) -> Iterator[tuple[TaskSubmission, ...]]:
    """Cut tasks into runs within the limits, in order; the same tasks are always cut at the same places, so that keys can be repeated."""
    start, size = 0, 0
    for place, task in enumerate(tasks):
        own = task_size(task)
        if place > start and (place - start >= limits.count or size + own > limits.size):
            yield tuple(tasks[start:place])
            start, size = place, 0
        size += own
    if start < len(tasks):
        yield tuple(tasks[start:])
