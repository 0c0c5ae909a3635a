"""One channel that consumes: deliveries arrive in order, acknowledgements leave without waiting."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec

from broker.channel import HeldChannel
from broker.frames import ack_frame, nack_frame
from runtime.logs import get_logger

__all__ = ["ConsumingChannel"]

_log = get_logger(__name__)


async def _nothing() -> None:
    """Give aiormq the coroutine it wants to run for each delivery."""


class ConsumingChannel(HeldChannel):
    """A channel with its consumers.

    Args:
        raw: A fresh channel of aiormq.
    """

    def __init__(self, raw: aiormq.Channel) -> None:
        super().__init__(raw)
        raw.on_consumer_cancel_callbacks.add(self._on_cancelled)

    async def consume(
        self,
        queue: str,
        take: Callable[[DeliveredMessage], None],
        *,
        prefetch: int,
        arguments: Mapping[str, int | str] | None = None,
        no_ack: bool = False,
    ) -> str:
        """Start a consumer. ``take`` is called for each delivery, in order, inside the event loop; if it raises, the channel is given up.

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
        tag = f"sw.{secrets.token_hex(8)}"

        def receive(message: DeliveredMessage) -> Any:  # noqa: ANN401 - aiormq wants "whatever can be awaited"
            # aiormq calls this in order and runs what it returns as a task, in no promised order: so the work is done here.
            self._receive(take, message)
            return _nothing()

        doing = f"consuming from {queue}"
        await self.call(self.raw.basic_qos(prefetch_count=prefetch), doing=doing)
        # aiormq's own ``basic_consume`` would wrap the function so that it runs inside the task.
        self.raw.consumers[tag] = receive
        request = spec.Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack, arguments=dict(arguments or {}))
        await self.call(self.raw.rpc(request), doing=doing)
        return tag

    async def cancel(self, tag: str) -> None:
        """Stop a consumer; what it holds unacknowledged stays with the channel.

        Raises:
            BrokerUnavailableError: The channel is dead.
        """
        await self.call(self.raw.basic_cancel(tag), doing="cancelling a consumer")

    async def count(self, queue: str, *, within: float) -> int:
        """Return how many messages lie ready in a queue, by a round trip on this channel (a passive declare).

        The broker's figure for a stream is some seconds old.

        Raises:
            NotDeclaredError: There is no such queue; the channel is closed now.
            BrokerUnavailableError: The channel is dead, or there was no answer within ``within`` seconds and it was given up.
        """
        answer = await self.call(self.raw.queue_declare(queue, passive=True), doing=f"asking for {queue}", within=within)
        return answer.message_count or 0

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge a delivery, or all up to it; does nothing on a dead channel, whose deliveries have gone back already."""
        if self.alive:
            self.outlet.write(ack_frame(self.raw.number, tag, multiple=multiple))

    def nack(self, tag: int, *, requeue: bool = True) -> None:
        """Give a delivery back, or drop it; does nothing on a dead channel."""
        if self.alive:
            self.outlet.write(nack_frame(self.raw.number, tag, requeue=requeue))

    def _receive(self, take: Callable[[DeliveredMessage], None], message: DeliveredMessage) -> None:
        if self._leaving:
            return
        try:
            take(message)
        # The edge of a message: an error that got into aiormq's reader would leave the channel open and deaf.
        except Exception as exc:  # noqa: BLE001 - logged with its traceback
            self.abandon()
            asyncio.get_running_loop().call_soon(_complain, exc)

    def _on_cancelled(self, frame: spec.Basic.Cancel) -> None:
        """The broker ended a consumer, as its queue was deleted: a channel that hears nothing any more must not look alive."""
        _log.warning("the broker cancelled a consumer", consumer=frame.consumer_tag)
        self.abandon()


def _complain(error: Exception) -> None:
    _log.error("a delivery could not be handled; its channel is given up", exc_info=error)
