"""One channel that consumes: deliveries arrive in order, acknowledgements leave without waiting, and its death is noticed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec

from broker.errors import BrokerUnavailableError, broker_errors
from broker.frames import ack_frame, nack_frame
from broker.outlet import Outlet
from runtime.logs import get_logger

__all__ = ["ConsumingChannel"]

_CLOSE_WITHIN: Final = 3.0

_log = get_logger(__name__)


async def _nothing() -> None:
    """Give aiormq the coroutine it wants to run for each delivery."""


class ConsumingChannel:
    """A channel with its consumers.

    Args:
        channel: A fresh channel of aiormq.
    """

    def __init__(self, channel: aiormq.Channel) -> None:
        self._channel = channel
        self._outlet = Outlet(channel)
        self._ending: asyncio.Task[None] | None = None
        self._leaving = False
        self.closed = asyncio.Event()
        """Set when the channel or its connection has died or was closed."""
        self._callbacks: list[Callable[[], None]] = []
        self._lost = channel.closing
        self._lost.add_done_callback(self._on_lost)
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)

    @property
    def alive(self) -> bool:
        """Whether the channel can be used, as far as this side knows."""
        return not self._leaving and not self.closed.is_set() and not self._channel.is_closed

    async def consume(
        self,
        queue: str,
        take: Callable[[DeliveredMessage], None],
        *,
        prefetch: int,
        arguments: Mapping[str, int | str] | None = None,
        no_ack: bool = False,
    ) -> str:
        """Start a consumer. ``take`` is called for each delivery, in order, inside the event loop, and must not raise.

        Args:
            queue: The queue's name.
            take: Gets each message.
            prefetch: How many messages the broker hands out before it waits for acknowledgements.
            arguments: Consumer arguments.
            no_ack: Whether messages count as acknowledged when they are sent.

        Returns:
            The consumer's tag.

        Raises:
            NotDeclaredError: There is no such queue.
            BrokerUnavailableError: The channel is dead.
        """
        channel = self._channel
        tag = f"sw.{secrets.token_hex(8)}"

        def receive(message: DeliveredMessage) -> Any:  # noqa: ANN401 - aiormq wants "whatever can be awaited"
            # aiormq calls this in order and runs what it returns as a task, in no promised order: so the work is done here.
            if not self._leaving:
                take(message)
            return _nothing()

        with broker_errors(f"consuming from {queue}"):
            await channel.basic_qos(prefetch_count=prefetch)
            # aiormq's own ``basic_consume`` would wrap the function so that it runs inside the task.
            channel.consumers[tag] = receive
            await channel.rpc(spec.Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack, arguments=dict(arguments or {})))
        return tag

    async def cancel(self, tag: str) -> None:
        """Stop a consumer; what it holds unacknowledged stays with the channel.

        Raises:
            BrokerUnavailableError: The channel is dead.
        """
        with broker_errors("cancelling a consumer"):
            await self._channel.basic_cancel(tag)

    async def count(self, queue: str, *, within: float) -> int:
        """Return how many messages lie ready in a queue, by a round trip on this channel (a passive declare).

        Raises:
            NotDeclaredError: There is no such queue; the channel is closed now.
            BrokerUnavailableError: The channel is dead, or there was no answer within ``within`` seconds.
        """
        with broker_errors(f"asking for {queue}"):
            async with asyncio.timeout(within):
                answer = await self._channel.queue_declare(queue, passive=True)
        return answer.message_count or 0

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge a delivery, or all up to it; does nothing on a dead channel, whose deliveries have gone back already."""
        if self.alive:
            self._outlet.write(ack_frame(self._channel.number, tag, multiple=multiple))

    def nack(self, tag: int, *, requeue: bool = True) -> None:
        """Give a delivery back, or drop it; does nothing on a dead channel."""
        if self.alive:
            self._outlet.write(nack_frame(self._channel.number, tag, requeue=requeue))

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the channel has died or was closed; at once if it is closed already."""
        if self.closed.is_set():
            callback()
        else:
            self._callbacks.append(callback)

    async def flush(self) -> None:
        """Return when the socket has taken all acknowledgements."""
        if self.alive:
            await self._outlet.drained()

    async def aclose(self) -> None:
        """Close the channel: all that it holds unacknowledged goes back together."""
        # From here on nothing may be acknowledged: a frame behind the channel's close would cost the whole connection.
        if not self._leaving:
            await self.flush()
        self._leaving = True
        self._outlet.close()
        if not self.closed.is_set():
            with suppress(BrokerUnavailableError), broker_errors("closing a channel"):
                async with asyncio.timeout(_CLOSE_WITHIN):
                    await self._channel.close()
        self._end()
        if self._ending is not None and self._ending is not asyncio.current_task():
            await asyncio.wait([self._ending])

    def _on_lost(self, _: asyncio.Future[Any]) -> None:
        self._outlet.close()
        self._end()

    def _end(self) -> None:
        self.closed.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _on_cancelled(self, frame: spec.Basic.Cancel) -> None:
        """The broker ended a consumer, as its queue was deleted: a channel that hears nothing any more must not look alive."""
        _log.warning("the broker cancelled a consumer", consumer=frame.consumer_tag)
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self.aclose(), name="closing a cancelled consumer's channel")
