"""One AMQP channel, used so that it can only die whole: its calls are never cut half way, and it is closed exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import aiormq

from broker.errors import BrokerUnavailableError, broker_errors
from broker.frames import close_frame
from broker.outlet import Outlet

__all__ = ["HeldChannel"]

_CLOSE_WITHIN: Final = 3.0

T = TypeVar("T")


class HeldChannel:
    """A channel of aiormq.

    When a call of aiormq is cancelled, or its close takes too long, it sends ``channel.close`` by itself. A second one from us would be
    answered with the end of the whole connection, and of every session on it (tried on RabbitMQ 3.10: "expected 'channel.open'"). So calls
    run to their end here whatever their caller does, and the only ``channel.close`` is ours.

    Args:
        raw: A fresh channel that nobody else uses or closes.
    """

    def __init__(self, raw: aiormq.Channel) -> None:
        self.raw = raw
        self.outlet = Outlet(raw)
        self.closed = asyncio.Event()
        """Set when the channel or its connection has died or was closed."""
        self._leaving = False
        self._given_up = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._callbacks: list[Callable[[str], None]] = []
        self._lost = raw.closing
        self._lost.add_done_callback(self._on_lost)

    @property
    def alive(self) -> bool:
        """Whether the channel can be used, as far as this side knows."""
        return not self._leaving and not self.closed.is_set() and not self.raw.is_closed

    def on_closed(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` once with the reason when the channel has died or was closed; at once if it is closed already."""
        if self.closed.is_set():
            callback("it is closed")
        else:
            self._callbacks.append(callback)

    async def call(self, work: Coroutine[Any, Any, T], *, doing: str, within: float | None = None) -> T:
        """Run one of aiormq's calls on this channel. A call that is given up gives up the channel: what it did is unknown.

        Args:
            work: The call.
            doing: What it is for, for error messages.
            within: Seconds to wait for the answer; ``None`` waits until the channel dies.

        Raises:
            NotDeclaredError: The broker does not know what was named; it has closed the channel.
            BrokerUnavailableError: The channel is dead, or there was no answer in time.
        """
        task = asyncio.get_running_loop().create_task(work, name=doing)
        self._calls.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait([task], timeout=within)
        except asyncio.CancelledError:
            self._give_up()
            raise
        if not task.done():
            self._give_up()
            raise BrokerUnavailableError(f"{doing}: no answer within {within:g} s")
        with broker_errors(doing):
            return task.result()

    def abandon(self) -> None:
        """Begin to close: what is written already leaves first, what the channel holds unacknowledged goes back."""
        if not self._leaving:
            self._leaving = True
            self.outlet.end(close_frame(self.raw.number))

    async def aclose(self) -> None:
        """Close the channel; returns when the broker has answered, or after 3 s when it does not, and at once after a call that was given up.

        That call's caller has waited already: with a broker that hangs it would pay for its deadline and for these seconds on top.
        """
        self.abandon()
        if not self._lost.done() and not self._given_up:
            # Waiting may be cut short; the close itself goes on.
            await asyncio.wait([self._lost], timeout=_CLOSE_WITHIN)
        self._end("it was closed")

    def _give_up(self) -> None:
        self._given_up = True
        self.abandon()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()

    def _on_lost(self, closing: asyncio.Future[Any]) -> None:
        self.outlet.drop()
        self._end("" if closing.cancelled() else str(closing.exception() or ""))

    def _end(self, reason: str) -> None:
        self.closed.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(reason)
