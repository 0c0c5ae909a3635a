"""A ``concurrent.futures`` future of one task."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

from sluiceway.codecs import Value
from sluiceway.fine_typing import override
from sluiceway.http.transport import unexpected
from sluiceway.outputs import Output

__all__ = ["TaskFuture"]

if TYPE_CHECKING:
    _Base = Future[Value]
else:
    _Base = Future


class TaskFuture(_Base):
    """The future of one task's decoded output; works with ``as_completed`` and ``wait``.

    Its exception is ``TaskFailed`` for an unsuccessful task. Callbacks run on the client's own thread and must not block.

    Args:
        take_back: Asks the grid to cancel a task.
    """

    def __init__(self, *, take_back: Callable[[str], None]) -> None:
        super().__init__()
        self._take_back = take_back
        self._task_id: str | None = None

    @property
    def task_id(self) -> str | None:
        """The task's id once it is stored; keep it to ``reattach`` after a crash."""
        return self._task_id

    @override
    def cancel(self) -> bool:
        """Cancel the future and take the task back from the grid, where it may have begun to run.

        Returns:
            False when the task has ended already.
        """
        if not super().cancel():
            return False
        # Whoever waits in as_completed() or wait() hears of a cancellation only by this call.
        with_notice = self._notify()
        if with_notice and self._task_id is not None:
            self._take_back(self._task_id)
        return True

    def _notify(self) -> bool:
        try:
            self.set_running_or_notify_cancel()
        except (InvalidStateError, RuntimeError):
            return False
        return True

    @property
    def given_up(self) -> bool:
        """Whether the future was cancelled."""
        return self.cancelled()

    def accepted(self, task_id: str) -> None:
        """Keep the id; a task that was cancelled on its way is taken back."""
        self._task_id = task_id
        if self.cancelled():
            self._take_back(task_id)

    def deliver(self, output: Output) -> None:
        """Set the result."""
        try:
            self._settle(output)
        except InvalidStateError:
            # Cancelled by another thread at this very moment: nobody wants the output.
            return

    def _settle(self, output: Output) -> None:
        try:
            value = output.result()
        except Exception as exc:  # noqa: BLE001 - a failed task, or a codec of the user's own: the one who waits must hear of it
            self.set_exception(unexpected(exc))
        else:
            self.set_result(value)

    def fail(self, error: Exception) -> None:
        """Set the exception."""
        try:
            self.set_exception(error)
        except InvalidStateError:
            # Cancelled or settled already.
            return
