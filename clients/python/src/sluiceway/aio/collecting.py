"""One poller for each session: takes outputs as they come and hands each to who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sluiceway.aio.background import Background
from sluiceway.aio.reading import OutputReader
from sluiceway.aio.waiting import Waiter
from sluiceway.codecs import Codec
from sluiceway.errors import GoneError, SluicewayError
from sluiceway.http.transport import unexpected
from sluiceway.outputs import Output
from sluiceway.records import Problem, TaskOutputItem

__all__ = ["Collector"]

_RUN = 10_000
_AT_ONCE = 4


class Collector:
    """Polls while anybody waits, and not otherwise.

    Args:
        reader: The session's outputs.
        codec: The session's codec.
        background: Holds the poller.
        wait: Seconds of one long poll.
        finished: Told of each run: how many tasks have ended, and how many of them without an output.
        single: Fetches one task's output by its id; None when it has none yet.
    """

    def __init__(
        self,
        *,
        reader: OutputReader,
        codec: Codec,
        background: Background,
        wait: float,
        finished: Callable[[int, int], None],
        single: Callable[[str], Awaitable[TaskOutputItem | None]],
    ) -> None:
        self._reader = reader
        self._single = single
        self._codec = codec
        self._background = background
        self._wait = wait
        self._finished = finished
        self._waiters: dict[str, Waiter] = {}
        self._unclaimed: dict[str, TaskOutputItem] = {}
        """Outputs that came before their task's id was known here, or that nobody waits for: ``surrender`` gives them to ``outputs()``."""
        self._sending = 0
        self._poller: asyncio.Task[None] | None = None
        self._doubtful: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether anybody waits, so that the poller has the outputs to itself."""
        return bool(self._waiters or self._sending)

    def sending(self) -> None:
        """A submission is on its way: outputs of tasks whose ids are not known yet may come."""
        self._sending += 1
        self._start()

    def sent(self) -> None:
        """That submission has been answered."""
        self._sending -= 1

    def expect(self, task_id: str, waiter: Waiter, *, sent_before: bool = False) -> None:
        """Hand the task's output to ``waiter``, now or when it comes.

        Args:
            task_id: The task.
            waiter: Who waits.
            sent_before: The output may have been taken already, by an earlier program: then it is asked for by its id.
        """
        item = self._unclaimed.pop(task_id, None)
        if item is not None:
            waiter.deliver(Output(item, self._codec))
            return
        self._waiters[task_id] = waiter
        if sent_before:
            self._doubtful.add(task_id)
        self._start()

    def _start(self) -> None:
        if self._poller is None:
            self._poller = self._background.start(self._poll(), name="sluiceway: collect outputs")

    def surrender(self) -> list[TaskOutputItem]:
        """Return the outputs that nobody here has claimed, in the order in which they came."""
        items = list(self._unclaimed.values())
        self._unclaimed.clear()
        return items

    async def stop(self, error: Exception) -> None:
        """End the poller and fail whoever waits."""
        poller = self._poller
        if poller is not None:
            poller.cancel()
            await asyncio.wait([poller])
        self._fail_all(error)

    async def _poll(self) -> None:
        try:
            await self._until_idle()
        except SluicewayError as exc:
            self._fail_all(exc)
        except asyncio.CancelledError:
            self._fail_all(SluicewayError("the client was closed before the output came; attach to the session again to get it"))
            raise
        except Exception as exc:
            self._fail_all(unexpected(exc))
            raise
        finally:
            self._poller = None

    async def _until_idle(self) -> None:
        # When the last output has come one more poll goes out: it acknowledges what was taken, keeps the session alive and is
        # there already for the output of the next task.
        lingering = False
        while self.busy or not lingering:
            lingering = not self.busy
            # With doubtful tasks the first poll only looks at what is there: their outputs may lie behind already.
            items = await self._reader.read(limit=_RUN, wait=0.0 if self._doubtful else self._wait)
            self._hand_out(items)
            if self._doubtful and not self._reader.more:
                await self._look_behind()
            if self._reader.ended and not self._sending:
                self._fail_all(_ended())
                return

    def _hand_out(self, items: list[TaskOutputItem]) -> None:
        if not items:
            return
        for item in items:
            waiter = self._waiters.pop(item.task_id, None)
            if waiter is None:
                self._unclaimed[item.task_id] = item
            else:
                waiter.deliver(Output(item, self._codec))
        self._finished(len(items), sum(1 for item in items if not item.successful))

    async def _look_behind(self) -> None:
        """Ask for the outputs of doubtful tasks by their ids; those that have none yet come by the cursor."""
        doubtful, self._doubtful = self._doubtful & self._waiters.keys(), set()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(task_id: str) -> None:
            async with gate:
                item = await self._single(task_id)
            waiter = self._waiters.pop(task_id, None) if item is not None else None
            if item is not None and waiter is not None:
                waiter.deliver(Output(item, self._codec))

        await asyncio.gather(*(look(one) for one in doubtful))

    def _fail_all(self, error: Exception) -> None:
        waiters, self._waiters = list(self._waiters.values()), {}
        for waiter in waiters:
            waiter.fail(error)


def _ended() -> GoneError:
    return GoneError(Problem(status=410, code="session-gone", title="The session is gone", detail="the session ended without this task's output"))
