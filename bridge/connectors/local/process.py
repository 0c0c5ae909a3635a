"""The bridge's side of one worker process: give it bundles, read its answers, end it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import msgspec
from typing_extensions import override

from bridge.connectors.base import GridTask
from bridge.connectors.local.frames import Context, Forget, FrameDecoder, Results, Start, Stop, ToWorker, Work, encode
from bridge.connectors.local.window import Bundle, Window, WindowError

if TYPE_CHECKING:
    from bridge.connectors.local.session import LocalSession

__all__ = ["WorkerProcess"]

_REMEMBERED_SESSIONS: Final = 8
"""Sessions whose common data a worker process keeps, so that changing between a few of them does not send it again."""
_LAST_WORDS: Final = 0.5
"""Seconds for reading what a process sent before it ended: a child of its own may hold the socket open."""


class WorkerProcess(asyncio.Protocol):
    """One worker process.

    Args:
        page: The shared page, as 64 bit words.
        on_results: Called for each frame of answers.
    """

    def __init__(self, *, page: memoryview, on_results: Callable[[WorkerProcess, Results], None]) -> None:
        loop = asyncio.get_running_loop()
        self.window = Window(page=page)
        self.ready: asyncio.Future[str | None] = loop.create_future()
        self.verdict: tuple[int, str] | None = None
        """Number of the task for which the process was ended, and why."""
        self.answered = False
        self.timer: asyncio.TimerHandle | None = None
        self.bound: LocalSession | None = None
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._on_results = on_results
        self._decoder = FrameDecoder()
        self._lost = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None

    def adopt(self, process: asyncio.subprocess.Process) -> None:
        """Take the operating system's process under this object's care."""
        self._process = process

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by the event loop)."""
        # uvloop's transports are not derived from asyncio's, so nothing can be checked here.
        self._transport = cast("asyncio.Transport", transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """End a process that does not listen any more (called by the event loop)."""
        self._lost.set()
        self.kill()

    @override
    def data_received(self, data: bytes) -> None:
        """Hand out the answers that have come (called by the event loop)."""
        try:
            for frame in self._decoder.feed(data):
                if isinstance(frame, Results):
                    self.answered = True
                    self._on_results(self, frame)
                elif not self.ready.done():
                    self.ready.set_result(frame.problem)
        except (msgspec.DecodeError, WindowError):
            # The service wrote into our socket, or answers for tasks that it does not have.
            self.kill()

    @property
    def pid(self) -> int:
        """The process id, 0 before the start."""
        return 0 if self._process is None else self._process.pid

    def send(self, bundle: Bundle, tasks: list[GridTask]) -> None:
        """Send a bundle, with the session's common data when the process does not have them."""
        session = bundle.session
        context = None if self._known.get(session.key) == session.version else Context(session.native_id, session.tag, session.common_data)
        ids, tags, payloads = [task.task_id for task in tasks], [task.tag for task in tasks], [task.payload for task in tasks]
        self._write(Work(session.key, session.version, context, ids, tags, payloads))
        self._known[session.key] = session.version
        self._known.move_to_end(session.key)
        self.window.bundles.append(bundle)
        self.bound = session
        if len(self._known) > _REMEMBERED_SESSIONS:
            self.forget(next(iter(self._known)))

    def forget(self, session: bytes) -> None:
        """Let the process leave a session and drop its common data."""
        if self._known.pop(session, None) is not None:
            self._write(Forget(session))

    def stop(self) -> None:
        """Ask the process to destroy its service and exit; one that has work is ended at once."""
        if self.window.bundles:
            self.kill()
        else:
            self._write(Stop())

    def kill(self, number: int = -1, why: str = "") -> None:
        """End the process and what it has started, now; ``number`` and ``why`` tell whose fault it was."""
        if why and self.verdict is None:
            self.verdict = number, why
        # The process leads a group of its own. As long as it was not waited for, its id cannot belong to another one.
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def finish(self, grace: float) -> None:
        """Stop the process, give it that many seconds for it, and return when it is gone."""
        self.stop()
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    async def ended(self) -> int:
        """Wait until the process is gone and everything it had sent is read; return its exit status, a signal as a negative number."""
        if self._process is None:
            return 0
        status = await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._lost.wait()
        if self._transport is not None:
            self._transport.abort()
        if self.timer is not None:
            self.timer.cancel()
        return status

    def begin(self, start: Start) -> None:
        """Tell the process what it is."""
        self._write(start)

    def _write(self, frame: ToWorker) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))
