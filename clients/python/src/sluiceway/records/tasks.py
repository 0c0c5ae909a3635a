"""Task inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.fields import Fields
from sluiceway.records.problems import ItemError, SymphonyException

__all__ = [
    "CancelAnswer",
    "CancelRequest",
    "FetchAnswer",
    "SubmitAnswer",
    "SubmitRequest",
    "SubmittedTask",
    "TaskOutputItem",
    "TaskSubmission",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSubmission:
    """One task input, encoded."""

    task_input: bytes
    tag: str | None = None
    task_priority: int | None = None
    timeout_in_sec: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitRequest:
    """One or many task inputs."""

    tasks: tuple[TaskSubmission, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedTask:
    """One item of the answer: an id, or why it was refused."""

    task_id: str = ""
    error: ItemError | None = None

    @classmethod
    def read(cls, value: object) -> SubmittedTask:
        """Read one item."""
        fields = Fields(value, "task")
        error = fields.part("error")
        return cls(task_id=fields.text("taskId", ""), error=None if error is None else ItemError.read(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitAnswer:
    """The inputs with ids are stored durably."""

    tasks: tuple[SubmittedTask, ...]

    @classmethod
    def read(cls, value: object) -> SubmitAnswer:
        """Read the answer to ``sendTaskInput``."""
        return cls(tasks=tuple(SubmittedTask.read(one) for one in Fields(value, "submission").parts("tasks")))


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutputItem:
    """Symphony's ``TaskOutputHandle``: an output, or the exception of an unsuccessful task."""

    task_id: str
    sequence: int
    successful: bool
    tag: str = ""
    output: bytes | None = None
    exception: SymphonyException | None = None
    finished_at: float = 0.0
    """Seconds since the epoch, UTC."""

    @classmethod
    def read(cls, value: object) -> TaskOutputItem:
        """Read one output."""
        fields = Fields(value, "output")
        exception = fields.part("exception")
        return cls(
            task_id=fields.text("taskId"),
            sequence=fields.whole("sequence"),
            successful=fields.truth("successful"),
            tag=fields.text("tag", ""),
            output=fields.binary("output"),
            exception=None if exception is None else SymphonyException.read(exception),
            finished_at=fields.number("finishedAt", 0.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchAnswer:
    """Outputs after a cursor; passing ``cursor`` back acknowledges them."""

    outputs: tuple[TaskOutputItem, ...]
    cursor: str
    more: bool
    ended: bool
    rewound: bool = False

    @classmethod
    def read(cls, value: object) -> FetchAnswer:
        """Read the answer to ``fetchTaskOutput``."""
        fields = Fields(value, "outputs")
        return cls(
            outputs=tuple(TaskOutputItem.read(one) for one in fields.parts("outputs")),
            cursor=fields.text("cursor"),
            more=fields.truth("more"),
            ended=fields.truth("ended"),
            rewound=fields.truth("rewound", default=False),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequest:
    """Which tasks to cancel: ids, or all with a tag."""

    task_ids: tuple[str, ...] | None = None
    tag: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelAnswer:
    """How many tasks were asked to end."""

    requested: int

    @classmethod
    def read(cls, value: object) -> CancelAnswer:
        """Read the answer to a cancellation."""
        return cls(requested=Fields(value, "cancellation").whole("requested"))
