"""Free lanes: one token in a queue for each lane that no session leases."""

from __future__ import annotations

import asyncio
from typing import Final

from aiormq.abc import DeliveredMessage
from pamqp import commands as spec

from broker.consuming import ConsumingChannel
from broker.dead import bury
from broker.errors import BrokerUnavailableError
from broker.link import Broker
from broker.publishing import Publisher
from schemas.messages import decode_token, encode_token
from schemas.records import RecordError
from schemas.topology import ClusterTopology

__all__ = ["FreeLanes", "LaneLease"]

_IDLE_CHANNELS: Final = 4


class LaneLease:
    """A token that was taken and not yet used up. When its channel dies, the broker puts it back."""

    def __init__(self, *, lane: int, tag: int, channel: ConsumingChannel, source: FreeLanes) -> None:
        self.lane = lane
        self._tag = tag
        self._channel = channel
        self._source = source

    async def keep(self) -> None:
        """Use the token up: the lane is the session's now. On a dead channel the token went back, a surplus that does no harm."""
        self._channel.ack(self._tag)
        await self._source.finish(self._channel)

    async def give_back(self) -> None:
        """Put the token back for others."""
        self._channel.nack(self._tag)
        await self._source.finish(self._channel)


class FreeLanes:
    """The free lanes of one cluster.

    Each token is taken on a channel of its own, so that cancelling one request disturbs no other: aiormq closes a channel whose call was
    cancelled, and the token goes back.

    Args:
        broker: Where tokens lie.
        cluster: Whose.
        publisher: Publishes tokens back.
    """

    def __init__(self, *, broker: Broker, cluster: str, publisher: Publisher) -> None:
        self._broker = broker
        self._cluster = cluster
        self._topology = ClusterTopology(cluster=cluster)
        self._publisher = publisher
        self._idle: list[ConsumingChannel] = []

    async def take(self, *, within: float) -> LaneLease | None:
        """Take one token, or return ``None`` when there is none.

        Raises:
            BrokerUnavailableError: The broker did not answer within ``within`` seconds.
        """
        end = asyncio.get_running_loop().time() + within
        while True:
            channel = await self._channel(within=max(0.0, end - asyncio.get_running_loop().time()))
            try:
                message = await self._get(channel, end)
                lease = await self._lease(channel, message) if message is not None else None
            except BaseException:
                await channel.aclose()
                raise
            if message is None:
                await self.finish(channel)
                return None
            if lease is not None:
                return lease

    async def put(self, lane: int) -> None:
        """Publish the token of a lane that is free again; returns when it is stored.

        Raises:
            BrokerError: As ``Publisher.publish``.
        """
        await self._publisher.publish(exchange=self._topology.exchange.name, key=self._topology.free_key, body=encode_token(lane))

    async def count(self, *, within: float = 5.0) -> int:
        """Return how many tokens lie ready.

        Raises:
            BrokerUnavailableError: The broker did not answer in time, or the cluster is not set up.
        """
        channel = await self._channel(within=within)
        try:
            return await channel.count(self._topology.free.name, within=within)
        finally:
            await self.finish(channel)

    async def aclose(self) -> None:
        """Close the channels that wait for the next request."""
        while self._idle:
            await self._idle.pop().aclose()

    async def finish(self, channel: ConsumingChannel) -> None:
        """Take a channel back whose token is settled."""
        if channel.alive and len(self._idle) < _IDLE_CHANNELS:
            self._idle.append(channel)
        else:
            await channel.aclose()

    async def _channel(self, *, within: float) -> ConsumingChannel:
        while self._idle:
            channel = self._idle.pop()
            if channel.alive:
                return channel
        return ConsumingChannel(await self._broker.consuming.channel(within=within))

    async def _get(self, channel: ConsumingChannel, end: float) -> DeliveredMessage | None:
        within = max(0.0, end - asyncio.get_running_loop().time())
        message = await channel.call(channel.raw.basic_get(self._topology.free.name), doing="taking a free lane", within=within)
        return message if isinstance(message.delivery, spec.Basic.GetOk) else None

    async def _lease(self, channel: ConsumingChannel, message: DeliveredMessage) -> LaneLease | None:
        tag = message.delivery_tag
        if tag is None:
            raise BrokerUnavailableError("the broker delivered a token without a tag")
        try:
            lane = decode_token(message.body).lane
        except RecordError as exc:
            # Nobody can ever use it, and given back it would come first again: it goes where operators look.
            await bury(self._publisher, message.body, key=f"{self._cluster}.free", reason=str(exc))
            channel.ack(tag)
            await self.finish(channel)
            return None
        return LaneLease(lane=lane, tag=tag, channel=channel, source=self)
