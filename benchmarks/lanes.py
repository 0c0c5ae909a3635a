"""A cluster's broker objects for one measurement: made before, removed afterwards, so that no measurement inherits what another left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import aio_pika

from broker.declaring import declare
from broker.link import Broker
from runtime.settings import BrokerSettings
from schemas.topology import ClusterTopology

__all__ = ["cluster_of"]

_CHANNELS: Final = 8
_CONNECT_WITHIN: Final = 10.0


@asynccontextmanager
async def cluster_of(topology: ClusterTopology, broker: BrokerSettings, url: str) -> AsyncIterator[None]:
    """Hold a cluster's exchange, queues and lanes while the block runs.

    A lane rests for 40 s after its session was closed; with fresh lanes nobody has to wait for that.

    Args:
        topology: What is made and removed.
        broker: How Sluiceway's own set-up reaches RabbitMQ.
        url: The same with the password.
    """
    async with Broker(settings=broker, name="benchmark set-up") as link:
        await link.wait_ready(_CONNECT_WITHIN)
        await declare(link, topology)
    try:
        yield
    finally:
        await _remove(topology, url)


async def _remove(topology: ClusterTopology, url: str) -> None:
    names = iter([queue.name for queue, _ in (*topology.base_pairs(), *topology.lane_pairs())])
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.exchange_delete(topology.exchange.name)
        async with asyncio.TaskGroup() as group:
            for _ in range(_CHANNELS):
                group.create_task(_delete(await connection.channel(), names))


async def _delete(channel: aio_pika.abc.AbstractChannel, names: Iterable[str]) -> None:
    for name in names:
        await channel.queue_delete(name)
