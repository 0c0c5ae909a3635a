"""Writes the frames of one channel in the order in which they are given, without waiting."""

from __future__ import annotations

import asyncio

import aiormq
from aiormq.abc import ChannelFrame

__all__ = ["Outlet"]


class Outlet:
    """The write side of one channel.

    aiormq's own calls take a lock and two queue hops per frame. Here frames of one turn of the event loop go out as one write, and the
    next write waits until the socket has taken the last, so that a slow broker is felt by whoever counts what it has unconfirmed.

    Args:
        channel: The channel.
    """

    def __init__(self, channel: aiormq.Channel) -> None:
        self._queue = channel.write_queue
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._busy = False
        self._ended = False
        self._putting: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    def write(self, raw: bytes) -> None:
        """Send whole frames; dropped when the last one was sent already."""
        if self._ended:
            return
        self._waiting.append(raw)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._flush)

    def end(self, raw: bytes) -> None:
        """Send the last frame, behind all others."""
        self.write(raw)
        self._ended = True

    def drop(self) -> None:
        """Send nothing more, what waits included: nobody reads it."""
        self._ended = True
        self._waiting.clear()
        if self._putting is not None:
            self._putting.cancel()

    async def drained(self) -> None:
        """Return when the socket has taken everything that was written, so that aiormq's own next frame comes behind it."""
        while not self._ended and (self._waiting or self._drained is not None):
            self._flush()
            if self._drained is not None:
                await asyncio.wait([self._drained])

    def _flush(self) -> None:
        if self._drained is not None:
            return
        if not self._waiting:
            self._busy = False
            return
        payload = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting.clear()
        self._drained = self._loop.create_future()
        self._drained.add_done_callback(self._on_drained)
        frame = ChannelFrame(payload=payload, should_close=False, drain_future=self._drained)
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self._putting = self._loop.create_task(self._queue.put(frame), name="outlet")

    def _on_drained(self, _: asyncio.Future[None]) -> None:
        self._drained = None
        self._flush()
