"""Sets up a cluster's broker objects: idempotent, grows a running cluster, never deletes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec
from aio_pika.abc import AbstractChannel

from broker.errors import BrokerUnavailableError, NotDeclaredError, UnconfirmedError, broker_errors
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from schemas.topology import Binding, ClusterTopology, Exchange, Queue, shared_topology
from schemas.versions import FORMAT

__all__ = ["SetupReport", "declare", "disk_needed", "disk_problem"]

_CHANNELS: Final = 8
_CHANNEL_WITHIN: Final = 10.0
_START_SECONDS: Final = 30.0
_START_PAUSE: Final = 0.5
_ATTEMPTS: Final = 6
_DISK_SHARE: Final = 0.8
_SEED_KIND: Final = "seed"


class SetupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a set-up found and made."""

    cluster: str
    lanes: int
    """How many lanes there are now."""
    new_lanes: int
    """How many of them this run made, each with its token."""


async def declare(broker: Broker, topology: ClusterTopology, *, progress: Callable[[int], None] | None = None) -> SetupReport:
    """Make what is missing of a cluster's broker objects.

    A lane is new when its journal is: only then it gets a token. Two runs at once do no harm, since a surplus token is dropped by the
    gateway that finds its lane in use.

    Args:
        broker: Where.
        topology: What.
        progress: Called with the number of lanes that are ready, as they become so.

    Raises:
        BrokerUnavailableError: The broker is away, or refuses: an object of the same name exists with other arguments, or the user may
            not make it.
    """
    async with Publisher(link=broker.publishing) as publisher:
        setup = _Setup(broker, topology, publisher)
        await setup.declare_base()
        new = await setup.declare_lanes(progress or (lambda _: None))
    return SetupReport(cluster=topology.cluster, lanes=topology.lanes, new_lanes=new)


class _Setup:
    """One run over one topology."""

    def __init__(self, broker: Broker, topology: ClusterTopology, publisher: Publisher) -> None:
        self._broker = broker
        self._topology = topology
        self._publisher = publisher
        self._tokens = FreeLanes(broker=broker, cluster=topology.cluster, publisher=publisher)

    async def declare_base(self) -> None:
        """Make what all lanes need: shared objects first, as lanes name them."""
        exchanges, queues, bindings = shared_topology()
        channel = await self._channel()
        for exchange in (*exchanges, self._topology.exchange):
            await _declare_exchange(channel, exchange)
        for queue in queues:
            channel = await self._declare_queue(channel, queue)
        for binding in bindings:
            await _bind(channel, binding)
        for queue, binding in self._topology.base_pairs():
            channel = await self._declare_queue(channel, queue)
            await _bind(channel, binding)
        await _close(channel)

    async def declare_lanes(self, progress: Callable[[int], None]) -> int:
        """Make the lanes that are missing, several at once; return how many were."""
        lanes = iter(range(self._topology.lanes))
        made = list[bool]()

        async def work(lanes: Iterator[int]) -> None:
            channel = await self._channel()
            for lane in lanes:
                new = not await self._has_journal(lane)
                channel = await self._declare_lane(channel, lane)
                if new:
                    await self._open_lane(lane)
                made.append(new)
                progress(len(made))
            await _close(channel)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_CHANNELS, self._topology.lanes)):
                    group.create_task(work(lanes))
        except ExceptionGroup as errors:
            refused = next((error for error in errors.exceptions if isinstance(error, BrokerUnavailableError)), None)
            if refused is None:
                raise
            raise refused from None
        return sum(made)

    async def _declare_lane(self, channel: AbstractChannel, lane: int) -> AbstractChannel:
        topology = self._topology
        for queue, key in ((topology.lane_input(lane), topology.input_key(lane)), (topology.lane_journal(lane), topology.journal_key(lane))):
            channel = await self._declare_queue(channel, queue)
            await _bind(channel, Binding(exchange=topology.exchange.name, queue=queue.name, key=key))
        return channel

    async def _declare_queue(self, channel: AbstractChannel, queue: Queue) -> AbstractChannel:
        """Declare a queue; return the channel to go on with.

        A node that has just started answers 404 ("down or inaccessible") for streams whose leader is still being chosen, and closes the channel.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + _START_SECONDS
        while True:
            try:
                with broker_errors(f"declaring queue {queue.name}"):
                    await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            except NotDeclaredError:
                if loop.time() > end:
                    raise
                await asyncio.sleep(_START_PAUSE)
                channel = await self._channel()
            else:
                return channel

    async def _open_lane(self, lane: int) -> None:
        """Seed the journal, so that it is never empty again, and offer the lane."""
        await _insist(
            lambda: self._publisher.publish(
                exchange=self._topology.exchange.name,
                key=self._topology.journal_key(lane),
                body=b"",
                headers={"v": FORMAT, "kind": _SEED_KIND},
                message_id=f"{_SEED_KIND}:{secrets.token_hex(8)}",
            )
        )
        await _insist(lambda: self._tokens.put(lane))

    async def _has_journal(self, lane: int) -> bool:
        """Ask on a channel of its own: the broker closes one that asks for what is not there."""
        channel = await self._channel()
        try:
            with broker_errors("looking for a journal"):
                await channel.get_queue(self._topology.lane_journal(lane).name, ensure=True)
        except NotDeclaredError:
            return False
        await _close(channel)
        return True

    async def _channel(self) -> AbstractChannel:
        return await self._broker.consuming.declaring_channel(within=_CHANNEL_WITHIN)


async def _insist(publish: Callable[[], Awaitable[None]]) -> None:
    """Publish until it is confirmed: a stream that two set-ups make at once may swallow what comes first, and one seed or token too many is harmless.

    Raises:
        BrokerError: Not within some attempts.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(UnconfirmedError):
            return await publish()
    return await publish()


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange) -> None:
    with broker_errors(f"declaring exchange {exchange.name}"):
        await channel.declare_exchange(exchange.name, exchange.kind.value, durable=True)


async def _bind(channel: AbstractChannel, binding: Binding) -> None:
    with broker_errors(f"binding queue {binding.queue}"):
        queue = await channel.get_queue(binding.queue, ensure=False)
        await queue.bind(binding.exchange, binding.key)


async def _close(channel: AbstractChannel) -> None:
    with broker_errors("closing a channel"):
        await channel.close()


def disk_needed(topology: ClusterTopology) -> int:
    """Return the bytes that all lanes of a cluster may take on each broker node."""
    return topology.lanes * topology.limits.lane_bytes


def disk_problem(topology: ClusterTopology, free: int) -> str | None:
    """Say why a cluster does not fit on a broker node's disk.

    Args:
        topology: The cluster.
        free: The bytes that the node may still take, what the cluster holds already included.

    Returns:
        One sentence, or ``None`` when all lanes together stay below 80 % of it.
    """
    needed = disk_needed(topology)
    if needed <= free * _DISK_SHARE:
        return None
    return (
        f"cluster {topology.cluster}: {topology.lanes} lanes may take {needed / 2**30:.1f} GiB on each broker node, more than"
        f" {_DISK_SHARE:.0%} of the {free / 2**30:.1f} GiB there; use fewer lanes, smaller lane limits or a larger disk"
    )
