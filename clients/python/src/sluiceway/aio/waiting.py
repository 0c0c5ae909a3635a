"""What waits for one task's output: the seam between the core and the futures of either face."""

from __future__ import annotations

import asyncio
from typing import Protocol

from sluiceway.codecs import Value
from sluiceway.fine_typing import override
from sluiceway.http.transport import unexpected
from sluiceway.outputs import Output

__all__ = ["AsyncWaiter", "Waiter"]


class Waiter(Protocol):
    """Waits for one task. All verbs are called on the event loop and must not block or raise."""

    @property
    def given_up(self) -> bool:
        """Whether nobody wants the task any more."""
        ...

    def accepted(self, task_id: str) -> None:
        """The task is stored under this id."""
        ...

    def deliver(self, output: Output) -> None:
        """The task has ended."""
        ...

    def fail(self, error: Exception) -> None:
        """The task was not taken, or its output cannot be waited for any longer."""
        ...


class AsyncWaiter(Waiter):
    """A waiter with an asyncio future; the future's result is the decoded output."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self.task_id: str | None = None

    @property
    @override
    def given_up(self) -> bool:
        """Whether the future was cancelled."""
        return self.future.cancelled()

    @override
    def accepted(self, task_id: str) -> None:
        """Keep the id."""
        self.task_id = task_id

    @override
    def deliver(self, output: Output) -> None:
        """Set the result."""
        if self.future.done():
            return
        try:
            self.future.set_result(output.result())
        except Exception as exc:  # noqa: BLE001 - a failed task, or a codec of the user's own: the one who waits must hear of it
            self.future.set_exception(unexpected(exc))

    @override
    def fail(self, error: Exception) -> None:
        """Set the exception."""
        if not self.future.done():
            self.future.set_exception(error)
            # All futures of a session fail together: asyncio need not complain of each one that nobody awaits any more.
            self.future.exception()
