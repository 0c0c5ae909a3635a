"""The shape of ``concurrent.futures.Executor`` over a session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import wait as wait_for
from types import TracebackType
from typing import Self

from sluiceway.blocking.futures import TaskFuture
from sluiceway.blocking.session import Session
from sluiceway.codecs import Value
from sluiceway.tasks import TaskInput

__all__ = ["GridExecutor"]


class GridExecutor:
    """Submits task inputs to a session and gives ``concurrent.futures`` futures.

    Not a subclass of ``Executor``: that one's ``submit`` takes a function, and a grid runs the service that is installed there, not
    functions from afar. Futures, ``as_completed``, ``wait``, ``map`` and ``shutdown`` are as there.

    Args:
        session: Stays open when the executor is shut down.

    Example:
        ::

            with GridExecutor(session) as executor:
                futures = [executor.submit(one) for one in inputs]
                for future in as_completed(futures):
                    print(future.result())
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: set[TaskFuture] = set()
        self._shut = False

    def submit(self, task: TaskInput | Value) -> TaskFuture:
        """Send one task input.

        Raises:
            RuntimeError: The executor is shut down.
        """
        if self._shut:
            raise RuntimeError("cannot submit after shutdown")
        future = self._session.submit(task)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def map(self, inputs: Iterable[TaskInput | Value], *, timeout: float | None = None) -> Iterator[Value]:
        """Send all inputs at once and return an iterator of their outputs in order.

        Args:
            inputs: Read to the end at once, as ``Executor.map`` does; ``Session.map`` reads them as needed.
            timeout: Seconds from now after which waiting for an output raises ``TimeoutError``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._results([self.submit(one) for one in inputs], deadline)

    @staticmethod
    def _results(futures: list[TaskFuture], deadline: float | None) -> Iterator[Value]:
        futures.reverse()
        try:
            while futures:
                yield futures.pop().result(None if deadline is None else max(0.0, deadline - time.monotonic()))
        finally:
            for future in futures:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of Executor.shutdown
        """Take no more inputs; wait for the outputs that are still to come, or cancel their tasks."""
        self._shut = True
        pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            wait_for(pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown(wait=True)
