"""A session: send task inputs, collect outputs, steer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from sluiceway.aio.calls import ask, get, segment
from sluiceway.aio.collecting import Collector
from sluiceway.aio.mapping import Counting, map_ordered
from sluiceway.aio.means import Means
from sluiceway.aio.reading import OutputReader
from sluiceway.aio.retracting import Retractor
from sluiceway.aio.sending import Sender
from sluiceway.aio.steering import Steering
from sluiceway.aio.submitting import Submitter
from sluiceway.aio.waiting import AsyncWaiter, Waiter
from sluiceway.codecs import Codec, Value
from sluiceway.errors import SessionBusyError, SluicewayError
from sluiceway.outputs import Output
from sluiceway.progress import Progress
from sluiceway.records import SessionAnswer, SessionDescription
from sluiceway.tasks import BulkLimits, TaskInput, encode_task

__all__ = ["AsyncSession"]

_WAIT = 20.0
_WINDOW = 20_000
_TOUCH_SECONDS = 10.0
_ENDLESS = sys.maxsize


class AsyncSession(Steering):
    """What ``create_session`` and ``attach`` return; as an async context manager it is closed, with its work, at the end.

    Its outputs can be taken in two ways, one at a time: by ``outputs()``, or by who waits for single tasks (``submit``, ``map``).

    Args:
        answer: What the gateway said.
        cursor: Where to begin fetching.
        codec: Turns inputs into bytes and outputs back.
        means: What all sessions of the client share.
        limits: Of one submission.
    """

    def __init__(
        self,
        answer: SessionAnswer,
        *,
        cursor: str,
        codec: Codec,
        means: Means,
        limits: BulkLimits | None = None,
    ) -> None:
        path = f"/v1/sessions/{segment(answer.session_id)}"
        transport, background = means.transport, means.background
        super().__init__(transport=transport, path=path, codec=codec)
        self._answer = answer
        self._begun_at = cursor
        self._keepalive = means.keepalive
        self._counting = Counting()
        self._sender = Sender(transport=transport, path=path, limits=limits or BulkLimits())
        self._reader = OutputReader(transport=transport, path=path, cursor=cursor)
        self._collector = Collector(
            reader=self._reader,
            codec=codec,
            background=background,
            wait=_WAIT,
            finished=self._counting.finished,
            single=self.single_output,
        )
        loop = asyncio.get_running_loop()
        self._retractor = Retractor(loop=loop, cancel=self.cancel, background=background)
        self._submitter = Submitter(
            loop=loop,
            sender=self._sender,
            collector=self._collector,
            background=background,
            submitted=self._counting.submitted,
        )

    @property
    def session_id(self) -> str:
        """The session's id: keep it to attach to the session after a crash."""
        return self._answer.session_id

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self._answer.grid

    @property
    def codec(self) -> Codec:
        """The session's codec."""
        return self._codec

    @property
    def cursor(self) -> str:
        """Behind what was taken: keep it to go on fetching from here after a crash."""
        return self._reader.cursor

    @property
    def ended(self) -> bool:
        """Whether the session is closed and all its outputs were taken."""
        return self._reader.ended

    @property
    def rewinds(self) -> int:
        """How often the broker lost outputs, which were made again; those that had come already were dropped."""
        return self._reader.rewinds

    @property
    def submitter(self) -> Submitter:
        """Where single submissions gather; the blocking face's futures go there directly."""
        return self._submitter

    # Sending

    async def send(self, inputs: Iterable[TaskInput | Value], *, key: str | None = None) -> list[str]:
        """Send task inputs (Symphony's ``sendTaskInput``, many at once); returns their ids, in order.

        When it returns, every input is stored on a majority of the broker's disks. While the session's quota is full it waits: fetch
        at the same time when there is much to send.

        Args:
            inputs: Values for the codec, or ``TaskInput`` with a tag and so on.
            key: A name for this submission, unique in the session: repeated with the same name and inputs, also by another process after
                a crash, nothing is sent twice and the same ids come back. Up to 200 visible ASCII characters.

        Raises:
            SubmissionError: Some inputs were not taken; it says which.
            CodecError: A value does not fit the codec; nothing was sent.
            SluicewayError: Nothing was taken.
        """
        tasks = [encode_task(one, self._codec) for one in inputs]
        if not tasks:
            return []
        return await self._sender.send(tasks, key=key)

    def submit(self, task: TaskInput | Value) -> asyncio.Future[Value]:
        """Send one task input; returns a future of its decoded output.

        What is submitted while a request is under way goes out together with the next one. Cancelling the future leaves the task to
        the grid; ``cancel`` takes it back there.

        Raises:
            CodecError: The value does not fit the codec.
        """
        waiter = AsyncWaiter()
        self._submitter.put(encode_task(task, self._codec), waiter)
        return waiter.future

    async def map(self, inputs: Iterable[TaskInput | Value], *, window: int = _WINDOW, progress: Progress | None = None) -> AsyncGenerator[Value, None]:
        """Send inputs and yield their outputs in the order of the inputs.

        Args:
            inputs: Read as needed: no more than ``window`` tasks are under way.
            window: The most tasks whose outputs were not yielded yet.
            progress: Told what was stored and what has ended.

        Raises:
            TaskFailed: The task was unsuccessful; what was sent goes on at the grid.
        """
        with self._counting.told(progress):
            async for value in map_ordered(inputs, submit=self.submit, window=window):
                yield value

    def told(self, progress: Progress | None) -> AbstractContextManager[None]:
        """Return a context in which ``progress`` is told of this session's tasks."""
        return self._counting.told(progress)

    # Collecting

    async def outputs(self, *, count: int | None = None, wait: float = _WAIT) -> AsyncGenerator[Output, None]:
        """Yield outputs as tasks end, in the order of ending.

        Asking for the next run of outputs acknowledges the ones before: a program that crashes meets those again that it was still
        working on. Ends after ``count`` outputs, or when the session is closed and all its outputs were taken. After a ``break`` the next
        ``outputs()`` goes on where this one was.

        Args:
            count: How many to yield; None: until the session ends.
            wait: Seconds of one long poll.

        Raises:
            SessionBusyError: Futures or ``map`` wait for outputs of this session.
        """
        left = _ENDLESS if count is None else count
        while left > 0:
            await self.fill(limit=left, wait=wait)
            while left > 0 and (output := self.take()) is not None:
                left -= 1
                yield output
            if self.ended:
                return
        await self._reader.acknowledge()

    async def fill(self, *, limit: int, wait: float = _WAIT) -> None:
        """Fetch a run of up to ``limit`` outputs unless some are here; ``take`` gives them out.

        Raises:
            SessionBusyError: Futures or ``map`` wait for outputs of this session.
        """
        await self._free_reader()
        await self._reader.fill(limit=limit, wait=wait)

    def take(self) -> Output | None:
        """Return the next of the outputs that are here; None when all are taken."""
        item = self._reader.take()
        return None if item is None else Output(item, self._codec)

    async def next_outputs(self, *, limit: int = 10_000, wait: float = _WAIT) -> list[Output]:
        """Return the outputs that are there (Symphony's ``fetchTaskOutput``), up to ``limit``; an empty list after ``wait`` seconds without any.

        Raises:
            SessionBusyError: Futures or ``map`` wait for outputs of this session.
        """
        await self._free_reader()
        return [Output(item, self._codec) for item in await self._reader.read(limit=limit, wait=wait)]

    async def _free_reader(self) -> None:
        if self._collector.busy or self._submitter.busy:
            raise SessionBusyError("futures or map() wait for outputs of this session: let them end first, or use one session for each way")
        await self._collector.stop(SessionBusyError("outputs() has taken over the outputs of this session"))
        # The poller that lingers after the last future may have taken outputs of tasks that were sent in bulk meanwhile.
        self._reader.put_back(self._collector.surrender())

    async def acknowledge(self) -> None:
        """Tell the grid now that all outputs taken so far are safe here; otherwise the next poll does."""
        await self._reader.acknowledge()

    def reattach(self, task_ids: Iterable[str]) -> dict[str, asyncio.Future[Value]]:
        """Return futures for tasks that were sent before, by this program or by one that crashed."""
        waiters = {task_id: AsyncWaiter() for task_id in task_ids}
        self.expect(waiters)
        return {task_id: waiter.future for task_id, waiter in waiters.items()}

    def expect(self, waiters: Mapping[str, Waiter]) -> None:
        """Hand outputs of tasks that were sent before to who waits for them."""
        for task_id, waiter in waiters.items():
            waiter.accepted(task_id)
            self._collector.expect(task_id, waiter, sent_before=self._begun_at != "")

    def take_back(self, task_id: str) -> None:
        """Ask the grid to cancel a task whose future was cancelled; may be called from any thread."""
        self._retractor.put(task_id)

    # Ending

    async def close(self, *, detach: bool = False) -> None:
        """Close the session (Symphony's ``close``).

        Args:
            detach: Let the work go on; ``attach`` opens the session again. Otherwise the session ends, and outputs that were not taken are
                discarded, as in Symphony.
        """
        self._keepalive.remove(self)
        self._submitter.close()
        await self._collector.stop(SluicewayError("the session was closed before the output came"))
        if detach:
            await self._reader.acknowledge()
        await self._post_close(detach=detach)

    async def aclose(self) -> None:
        """Let go of this object only: the session stays open at the grid until its client counts as gone."""
        self._keepalive.remove(self)
        self._submitter.close()
        await self._collector.stop(SluicewayError("the session object was closed before the output came"))

    def quiet_for(self, now: float) -> float:
        """Return for how many seconds no poll was under way."""
        return self._reader.quiet_for(now)

    async def touch(self) -> None:
        """Give a sign of life; soon given up, since the next one follows."""
        await ask(self._transport, get(self._path), SessionDescription.read, deadline=_TOUCH_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
