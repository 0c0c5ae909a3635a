"""One connection: its channels, its numbers, its end."""

from __future__ import annotations

import asyncio

import pytest

from broker.channel import HeldChannel
from broker.consuming import ConsumingChannel
from broker.errors import BrokerUnavailableError, NotDeclaredError
from broker.link import Broker
from schemas.topology import ClusterTopology

pytestmark = pytest.mark.broker


async def test_channel_numbers_come_again_as_late_as_can_be(broker: Broker) -> None:
    """A number is used again only after all others, within what was agreed: the broker ends a connection that is too quick or goes beyond."""
    lasting = HeldChannel(await broker.consuming.channel(within=5))
    connection = broker.consuming._connection
    assert connection is not None
    most = connection.connection_tune.channel_max
    numbers = list[int]()
    for skipped in (0, 0, most - 4, 0, 0):
        broker.consuming._number += skipped
        passing = HeldChannel(await broker.consuming.channel(within=5))
        numbers.append(passing.raw.number)
        await passing.aclose()

    assert lasting.raw.number == 1
    assert numbers == [2, 3, most, 2, 3]
    await lasting.aclose()


async def test_channels_opened_at_once_differ(broker: Broker) -> None:
    """Channels that are opened at the same moment get different numbers."""
    channels = [HeldChannel(raw) for raw in await asyncio.gather(*(broker.consuming.channel(within=5) for _ in range(50)))]

    assert sorted(channel.raw.number for channel in channels) == list(range(1, 51))
    await asyncio.gather(*(channel.aclose() for channel in channels))


async def test_cancelled_call_gives_up_its_channel_only(broker: Broker, cluster: ClusterTopology) -> None:
    """A call that is cancelled, or takes too long, costs its channel; the connection and its other channels live on."""
    other = ConsumingChannel(await broker.consuming.channel(within=5))
    for step in range(1, 9):
        channel = ConsumingChannel(await broker.consuming.channel(within=5))
        asking = asyncio.create_task(channel.count(cluster.free.name, within=5))
        for _ in range(step):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled() is not channel.alive
        await channel.aclose()
        await channel.aclose()
    slow = ConsumingChannel(await broker.consuming.channel(within=5))
    with pytest.raises(BrokerUnavailableError):
        await slow.count(cluster.free.name, within=0)
    await slow.aclose()

    assert await other.count(cluster.free.name, within=5) == 4
    await other.aclose()


async def test_missing_queue_is_told_apart(broker: Broker) -> None:
    """Asking for a queue that does not exist says so, and costs that channel only."""
    channel = ConsumingChannel(await broker.consuming.channel(within=5))
    with pytest.raises(NotDeclaredError):
        await channel.count("sw.never-declared", within=5)

    await asyncio.wait_for(channel.closed.wait(), 5)
    assert broker.consuming.connected


async def test_error_inside_the_block_is_not_wrapped(broker: Broker) -> None:
    """An error raised inside ``async with Broker(...)`` comes out as it is, not inside an exception group."""
    with pytest.raises(KeyError):
        async with Broker(settings=broker.consuming.settings, name="short"):
            raise KeyError("ours")


async def test_cancelling_the_block_closes_the_links(broker: Broker) -> None:
    """A task that is cancelled inside ``async with Broker(...)`` ends as cancelled, with its connections closed."""
    opened = asyncio.Event()
    seen = list[Broker]()

    async def work() -> None:
        async with Broker(settings=broker.consuming.settings, name="short") as short:
            seen.append(short)
            await short.wait_ready(5)
            opened.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.wait_for(opened.wait(), 5)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not seen[0].publishing.connected
    assert not seen[0].consuming.connected
