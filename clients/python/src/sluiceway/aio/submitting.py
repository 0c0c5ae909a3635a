"""Gathers single submissions: what comes while one request is under way goes out together with the next."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from sluiceway.aio.background import Background
from sluiceway.aio.collecting import Collector
from sluiceway.aio.sending import Sender
from sluiceway.aio.waiting import Waiter
from sluiceway.errors import SluicewayError, SubmissionError
from sluiceway.http.transport import fresh_key, unexpected
from sluiceway.records import SubmittedTask, TaskSubmission
from sluiceway.tasks import task_size

__all__ = ["Submitter"]

_Entry = tuple[TaskSubmission, Waiter]


class Submitter:
    """The submissions of one session that wait for a request.

    ``put`` may be called from any thread; everything else happens on the event loop.

    Args:
        loop: The event loop of the client.
        sender: Sends requests.
        collector: Gets the ids with who waits for them.
        background: Holds the flusher.
        submitted: Told how many tasks a request has stored.
        waiting_bytes: What may wait here; ``has_room`` says when it is full.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        sender: Sender,
        collector: Collector,
        background: Background,
        submitted: Callable[[int], None],
        waiting_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._loop = loop
        self._sender = sender
        self._collector = collector
        self._background = background
        self._submitted = submitted
        self._waiting_bytes = waiting_bytes
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._awake = False
        self._closed = False
        self._room = threading.Condition()
        self._flusher: asyncio.Task[None] | None = None

    def put(self, task: TaskSubmission, waiter: Waiter) -> None:
        """Take a submission; the flusher is woken when it sleeps."""
        with self._room:
            if self._closed:
                raise SluicewayError("the session is closed")
            self._entries.append((task, waiter))
            self._bytes += task_size(task)
            wake, self._awake = not self._awake, True
        if wake:
            try:
                self._loop.call_soon_threadsafe(self._start)
            except RuntimeError as exc:
                raise SluicewayError("the client is closed") from exc

    @property
    def busy(self) -> bool:
        """Whether submissions wait here or are under way."""
        return self._awake

    def has_room(self) -> bool:
        """Whether less waits here than may."""
        return self._bytes < self._waiting_bytes

    def wait_for_room(self) -> None:
        """Block the calling thread, which must not be the event loop's, until there is room."""
        with self._room:
            self._room.wait_for(lambda: self.has_room() or self._closed)

    def close(self) -> None:
        """Fail what waits and take nothing more."""
        with self._room:
            self._closed = True
            entries = list(self._entries)
            self._entries.clear()
            self._bytes = 0
            self._room.notify_all()
        for _, waiter in entries:
            waiter.fail(SluicewayError("the session was closed before the task was sent"))

    def _start(self) -> None:
        self._flusher = self._background.start(self._flush(), name="sluiceway: send task inputs")

    def _take(self) -> list[_Entry]:
        """Return what goes into one request; nothing lets the flusher sleep."""
        limits = self._sender.limits
        taken: list[_Entry] = []
        size = 0
        with self._room:
            while self._entries and len(taken) < limits.count:
                own = task_size(self._entries[0][0])
                if taken and size + own > limits.size:
                    break
                size += own
                taken.append(self._entries.popleft())
            self._bytes -= size
            self._awake = bool(taken)
            self._room.notify_all()
        return taken

    async def _flush(self) -> None:
        while taken := self._take():
            wanted = [entry for entry in taken if not entry[1].given_up]
            if wanted:
                await self._send(wanted)

    async def _send(self, entries: list[_Entry]) -> None:
        self._collector.sending()
        try:
            items = await self._sender.post([task for task, _ in entries], key=fresh_key())
        except SluicewayError as exc:
            _fail(entries, exc)
        except BaseException as exc:
            _fail(entries, unexpected(exc))
            raise
        else:
            self._accept(entries, items)
        finally:
            self._collector.sent()

    def _accept(self, entries: list[_Entry], items: list[SubmittedTask]) -> None:
        accepted = 0
        for (_, waiter), item in zip(entries, items, strict=True):
            if item.error is not None:
                waiter.fail(SubmissionError([None], {0: item.error}))
                continue
            accepted += 1
            waiter.accepted(item.task_id)
            self._collector.expect(item.task_id, waiter)
        self._submitted(accepted)


def _fail(entries: list[_Entry], error: Exception) -> None:
    for _, waiter in entries:
        waiter.fail(error)
