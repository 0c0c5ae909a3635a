"""The blocking face of a session: bulk calls, ordered results, futures."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from sluiceway.aio.session import AsyncSession
from sluiceway.blocking.futures import TaskFuture
from sluiceway.blocking.loop import LoopThread
from sluiceway.codecs import Codec, Value
from sluiceway.outputs import Output
from sluiceway.progress import Progress
from sluiceway.records import SessionDescription
from sluiceway.tasks import TaskInput, encode_task

__all__ = ["Session"]

_WAIT = 20.0
_WINDOW = 20_000


class Session:
    """What ``create_session`` and ``attach`` return; as a context manager it is closed, with its work, at the end.

    Args:
        inner: The core's session.
        loop: Where the core runs.
    """

    def __init__(self, inner: AsyncSession, *, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def session_id(self) -> str:
        """The session's id: keep it to attach to the session after a crash."""
        return self._inner.session_id

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self._inner.grid

    @property
    def codec(self) -> Codec:
        """The session's codec."""
        return self._inner.codec

    @property
    def cursor(self) -> str:
        """Behind what was taken: keep it to go on fetching from here after a crash."""
        return self._inner.cursor

    @property
    def ended(self) -> bool:
        """Whether the session is closed and all its outputs were taken."""
        return self._inner.ended

    @property
    def rewinds(self) -> int:
        """How often the broker lost outputs, which were made again; those that had come already were dropped."""
        return self._inner.rewinds

    def send(self, inputs: Iterable[TaskInput | Value], *, key: str | None = None) -> list[str]:
        """Send task inputs in bulk; returns their ids, in order; see ``AsyncSession.send``."""
        return self._loop.run(self._inner.send(inputs, key=key))

    def submit(self, task: TaskInput | Value) -> TaskFuture:
        """Send one task input; returns a future of its decoded output.

        Submissions gather while a request is under way and go out together with the next one. Blocks while 64 MiB wait to be sent.

        Raises:
            CodecError: The value does not fit the codec.
        """
        submission = encode_task(task, self.codec)
        future = TaskFuture(take_back=self._inner.take_back)
        if not self._inner.submitter.has_room():
            self._inner.submitter.wait_for_room()
        self._inner.submitter.put(submission, future)
        return future

    def map(self, inputs: Iterable[TaskInput | Value], *, window: int = _WINDOW, progress: Progress | None = None) -> Iterator[Value]:
        """Send inputs and yield their outputs in the order of the inputs; see ``AsyncSession.map``."""
        waiting: deque[TaskFuture] = deque()
        with self._inner.told(progress):
            try:
                for value in inputs:
                    waiting.append(self.submit(value))
                    while len(waiting) >= window or (waiting and waiting[0].done()):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def outputs(self, *, count: int | None = None, wait: float = _WAIT) -> Iterator[Output]:
        """Yield outputs as tasks end; see ``AsyncSession.outputs``."""
        left = sys.maxsize if count is None else count
        while left > 0:
            self._loop.run(self._inner.fill(limit=left, wait=wait))
            while left > 0 and (output := self._inner.take()) is not None:
                left -= 1
                yield output
            if self.ended:
                return
        self.acknowledge()

    def next_outputs(self, *, limit: int = 10_000, wait: float = _WAIT) -> list[Output]:
        """Return the outputs that are there, up to ``limit``; an empty list after ``wait`` seconds without any."""
        return self._loop.run(self._inner.next_outputs(limit=limit, wait=wait))

    def acknowledge(self) -> None:
        """Tell the grid now that all outputs taken so far are safe here; otherwise the next poll does."""
        self._loop.run(self._inner.acknowledge())

    def output(self, task_id: str) -> bytes:
        """Return one successful task's output as bytes; see ``AsyncSession.output``."""
        return self._loop.run(self._inner.output(task_id))

    def reattach(self, task_ids: Iterable[str]) -> dict[str, TaskFuture]:
        """Return futures for tasks that were sent before, by this program or by one that crashed."""
        futures = {task_id: TaskFuture(take_back=self._inner.take_back) for task_id in task_ids}

        async def expect() -> None:
            self._inner.expect(futures)

        self._loop.run(expect())
        return futures

    def status(self) -> SessionDescription:
        """Return the session's state, counts of tasks, owner and the grid's own id."""
        return self._loop.run(self._inner.status())

    def update_common_data(self, value: Value) -> None:
        """Replace the common data: tasks sent from now on are run with the new value."""
        self._loop.run(self._inner.update_common_data(value))

    def suspend(self) -> None:
        """Start no more tasks; sending and fetching go on."""
        self._loop.run(self._inner.suspend())

    def resume(self) -> None:
        """Start tasks again."""
        self._loop.run(self._inner.resume())

    def set_priority(self, priority: int) -> None:
        """Change the priority among the application's sessions: 1 to 10000, 10000 first."""
        self._loop.run(self._inner.set_priority(priority))

    def cancel(self, task_ids: Iterable[str] | None = None, *, tag: str | None = None) -> int:
        """Take tasks back, by ids or all with a tag; returns how many were asked to end."""
        return self._loop.run(self._inner.cancel(task_ids, tag=tag))

    def close(self, *, detach: bool = False) -> None:
        """Close the session, or with ``detach`` let its work go on; see ``AsyncSession.close``."""
        self._loop.run(self._inner.close(detach=detach))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
