"""Task outputs as users get them: the record from the wire with the session's codec at hand."""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.codecs import Codec, Value
from sluiceway.errors import ProtocolError, TaskFailed, task_error
from sluiceway.records import SymphonyException, TaskOutputItem

__all__ = ["Output"]


@dataclass(frozen=True, slots=True)
class Output:
    """The outcome of one task: a value, or the exception of an unsuccessful one.

    Args:
        item: What the gateway sent.
        codec: The session's codec.
    """

    item: TaskOutputItem
    codec: Codec

    @property
    def task_id(self) -> str:
        """The task's id, as ``send`` returned it."""
        return self.item.task_id

    @property
    def tag(self) -> str:
        """The tag that the task was sent with."""
        return self.item.tag

    @property
    def sequence(self) -> int:
        """The output's place in the session: 1, 2, 3 and so on, in the order of finishing."""
        return self.item.sequence

    @property
    def successful(self) -> bool:
        """Whether there is an output."""
        return self.item.successful

    @property
    def finished_at(self) -> float:
        """When the task ended: seconds since the epoch, UTC."""
        return self.item.finished_at

    @property
    def payload(self) -> bytes | None:
        """The output's bytes; None for an unsuccessful task."""
        return self.item.output if self.item.successful else None

    @property
    def exception(self) -> SymphonyException | None:
        """Symphony's exception of an unsuccessful task."""
        return self.item.exception

    @property
    def error(self) -> TaskFailed | None:
        """What ``result`` would raise."""
        if self.item.successful:
            return None
        exception = self.item.exception or SymphonyException(error_type="FailureException", code="unknown")
        return task_error(exception, task_id=self.item.task_id, tag=self.item.tag)

    def result(self) -> Value:
        """Return the decoded output.

        Raises:
            TaskFailed: The task was unsuccessful.
            CodecError: The bytes are not of the session's codec.
        """
        error = self.error
        if error is not None:
            raise error
        if self.item.output is None:
            raise ProtocolError(f"task {self.item.task_id}: a successful task came without its output")
        return self.codec.decode(self.item.output)
