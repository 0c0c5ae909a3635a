"""Claims and the channel of a session: whoever holds a claim unacknowledged owns the session, on this channel and on no other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from aiormq.abc import DeliveredMessage

from broker.consuming import ConsumingChannel
from broker.errors import BrokerUnavailableError
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import get_logger
from schemas.messages import Claim, encode_claim
from schemas.topology import ClusterTopology

__all__ = ["ClaimSource", "InputDelivery", "SessionChannel", "publish_claim"]

_CHANNEL_WITHIN: Final = 30.0
_LONGEST_PAUSE: Final = 2.0
_DELIVERY_COUNT: Final = "x-delivery-count"

_log = get_logger(__name__)


async def publish_claim(publisher: Publisher, claim: Claim, claim_id: str) -> None:
    """Offer a session to the workers of its cluster; returns when the claim is stored.

    Args:
        publisher: Publishes it.
        claim: The session.
        claim_id: The message's id, a new one for each attempt: owners are told apart by it.

    Raises:
        BrokerError: As ``Publisher.publish``.
    """
    topology = ClusterTopology(cluster=claim.cluster)
    await publisher.publish(exchange=topology.exchange.name, key=topology.claims_key, body=encode_claim(claim), message_id=claim_id)


class InputDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message from a lane's input side."""

    tag: int
    """What ``SessionChannel.ack`` wants; it means something on this channel only."""
    headers: Mapping[str, object]
    body: bytes
    message_id: str
    delivery_count: int
    """How many times it was given back before."""
    redelivered: bool


def _headers(message: DeliveredMessage) -> Mapping[str, object]:
    return message.header.properties.headers or {}


def _delivery_count(message: DeliveredMessage) -> int:
    count = _headers(message).get(_DELIVERY_COUNT, 0)
    return count if isinstance(count, int) else 0


class SessionChannel:
    """The one channel of a session: its claim and its lane's consumer, nothing else.

    To give up the session is to close the channel: claim and inputs go back together. A delivery can only be acknowledged on the channel
    that delivered it, so an owner that was cut off cannot acknowledge anything any more.

    Args:
        channel: Carries the claim.
        claim: The claim as it was delivered.
    """

    def __init__(self, *, channel: ConsumingChannel, claim: DeliveredMessage) -> None:
        self._channel = channel
        self._claim_tag = claim.delivery_tag or 0
        self._consumer = ""
        self.claim_body = claim.body
        self.claim_id = claim.header.properties.message_id or ""
        self.delivery_count = _delivery_count(claim)
        """How many times the claim was given back before: 0 for a new one."""
        self.closed = channel.closed
        """Set when the channel or its connection has died or was closed."""

    @property
    def alive(self) -> bool:
        """Whether the session is still held, as far as this side knows."""
        return self._channel.alive

    async def probe(self, queue: str, within: float) -> None:
        """Make one round trip on the channel.

        Raises:
            BrokerError: The channel is dead; the session is not held any more.
        """
        await self._channel.count(queue, within=within)

    async def count(self, queue: str, within: float = 5.0) -> int:
        """Return how many messages lie ready in the queue.

        Raises:
            BrokerError: The channel is dead.
        """
        return await self._channel.count(queue, within=within)

    async def consume(self, queue: str, *, prefetch: int, sink: Callable[[InputDelivery], None]) -> None:
        """Begin to take inputs, or go on with another prefetch; what is held unacknowledged stays with the channel.

        ``sink`` gets messages in the broker's order, inside the event loop, and must not raise.

        Args:
            queue: The lane's input side.
            prefetch: How many messages may be unacknowledged at once, those of an earlier call not counted.
            sink: Gets each message.

        Raises:
            BrokerError: The channel is dead.
        """

        def take(message: DeliveredMessage) -> None:
            sink(
                InputDelivery(
                    tag=message.delivery_tag or 0,
                    headers=_headers(message),
                    body=message.body,
                    message_id=message.header.properties.message_id or "",
                    delivery_count=_delivery_count(message),
                    redelivered=bool(message.redelivered),
                )
            )

        if self._consumer:
            await self._channel.cancel(self._consumer)
        self._consumer = await self._channel.consume(queue, take, prefetch=prefetch)

    def ack(self, delivery_tag: int) -> None:
        """Acknowledge an input; does nothing when the channel is dead, since the input has gone back already."""
        self._channel.ack(delivery_tag)

    def nack(self, delivery_tag: int, *, requeue: bool = True) -> None:
        """Give an input back, or (``requeue=False``) into the dead letters; does nothing when the channel is dead."""
        self._channel.nack(delivery_tag, requeue=requeue)

    async def ack_claim(self) -> None:
        """Use up the claim: nobody will be offered the session by it again. Close the channel next: its answer proves the acknowledgement."""
        if self.alive:
            self._channel.ack(self._claim_tag)
            await self._channel.outlet.drained()

    def abandon(self) -> None:
        """Take the session for lost from now on; ``aclose`` gives it back."""
        self._channel.abandon()

    async def aclose(self) -> None:
        """Give up the session: what is not acknowledged goes back to the broker, all at once."""
        await self._channel.aclose()


class ClaimSource:
    """Waits for claims of one cluster, one at a time, each on a channel of its own.

    Args:
        broker: Where claims lie.
        cluster: Whose.
    """

    def __init__(self, *, broker: Broker, cluster: str) -> None:
        self._broker = broker
        self._queue = ClusterTopology(cluster=cluster).claims.name

    async def next(self) -> SessionChannel:
        """Return the channel of the next session that this worker is given; it belongs to the caller from then on.

        Waits as long as it takes, over lost connections too. Cancelling closes the waiting channel, and a claim that was just
        delivered goes back.
        """
        failures = 0
        while True:
            try:
                return await self._wait_once()
            except BrokerUnavailableError as exc:
                failures += 1
                _log.warning("waiting for claims was interrupted", queue=self._queue, reason=str(exc)[:300])
                await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2 ** min(failures, 10))))  # noqa: S311 - spreads load

    async def _wait_once(self) -> SessionChannel:
        channel = ConsumingChannel(await self._broker.consuming.channel(within=_CHANNEL_WITHIN))
        try:
            return SessionChannel(channel=channel, claim=await self._take(channel))
        except BaseException:
            await channel.aclose()
            raise

    async def _take(self, channel: ConsumingChannel) -> DeliveredMessage:
        delivered: asyncio.Future[DeliveredMessage] = asyncio.get_running_loop().create_future()

        def take(message: DeliveredMessage) -> None:
            if delivered.done():
                # After a partition heals, a quorum queue may deliver past the prefetch: this channel has its session.
                channel.nack(message.delivery_tag or 0)
            else:
                delivered.set_result(message)

        def lose(_: str) -> None:
            if not delivered.done():
                delivered.set_exception(BrokerUnavailableError("the channel was lost"))
                delivered.exception()

        channel.on_closed(lose)
        tag = await channel.consume(self._queue, take, prefetch=1)
        claim = await delivered
        # Without its consumer the channel can never be given another session's claim, whatever happens to the queue's leader.
        await channel.cancel(tag)
        return claim
