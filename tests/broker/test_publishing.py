"""Publishing: every message ends as stored, returned, refused or unknown."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import BrokerUnavailableError, RejectedError, UnconfirmedError, UnroutableError
from broker.journal.stream import StreamReader
from broker.link import Broker
from broker.publishing import Publisher
from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


async def test_confirmed_message_is_stored(broker: Broker, publisher: Publisher, cluster: ClusterTopology) -> None:
    """A publish that returns has put the message, its id and its headers into the queue that its key names."""
    journal = cluster.lane_journal(0).name
    async with StreamReader.attach(broker, journal, "next") as reader:
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"body", headers={"n": 7, "s": "text"}, message_id="id-1")

        (record,) = await reader.read(5)

    assert (record.body, record.message_id, record.headers["n"], record.headers["s"]) == (b"body", "id-1", 7, "text")


async def test_unroutable_message_is_an_error(publisher: Publisher, cluster: ClusterTopology) -> None:
    """A mandatory message that no queue takes fails, and one that is not mandatory does not."""
    with pytest.raises(UnroutableError):
        await publisher.publish(exchange=cluster.exchange.name, key="lane.999.in", body=b"")

    await publisher.publish(exchange=cluster.exchange.name, key="lane.999.in", body=b"", mandatory=False)


async def test_full_queue_refuses(publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A queue at its limit refuses messages, and the publisher goes on to work for other queues."""
    cluster = await make_cluster(input_bytes=10_000)

    async def refused() -> bool:
        # The limit of a quorum queue is soft: some messages more may be taken while its leader hears of it.
        try:
            await publisher.publish(exchange=cluster.exchange.name, key=cluster.input_key(0), body=bytes(4000))
        except RejectedError:
            return True
        return False

    await eventually(refused, within=10)
    await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"")


async def test_pipelined_messages_keep_their_order(broker: Broker, publisher: Publisher, cluster: ClusterTopology) -> None:
    """Messages published at once arrive in the order of the calls, the very first ones included, for which the channel had to be opened."""
    async with StreamReader.attach(broker, cluster.lane_journal(1).name, "next") as reader:
        async with asyncio.TaskGroup() as group:
            for number in range(500):
                group.create_task(publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(1), body=b"%d" % number))
        seen = list[int]()
        while len(seen) < 500:
            seen += [int(record.body) for record in await reader.read(5)]

    assert list(range(500)) == seen


async def test_large_message_is_split_into_frames(broker: Broker, publisher: Publisher, cluster: ClusterTopology) -> None:
    """A body larger than a frame arrives whole."""
    body = bytes(range(256)) * 4096 * 3
    async with StreamReader.attach(broker, cluster.lane_journal(0).name, "next") as reader:
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=body)

        (record,) = await reader.read(5)

    assert body == record.body


async def test_message_id_in_flight_twice_is_refused(publisher: Publisher, cluster: ClusterTopology) -> None:
    """A second message with the id of one that is on its way is refused, since a return could not be told to the right one."""
    first = publisher.post(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"", message_id="same")
    second = publisher.post(exchange=cluster.exchange.name, key="nowhere", body=b"", message_id="same")

    await first
    with pytest.raises(ValueError, match="same"):
        await second


async def test_returned_messages_are_told_apart(publisher: Publisher, cluster: ClusterTopology) -> None:
    """Among hundreds of messages in flight exactly those fail that no queue takes (aiormq finds them by their ids)."""
    keys = [cluster.journal_key(2) if number % 3 else f"nowhere.{number}" for number in range(600)]
    posts = [publisher.post(exchange=cluster.exchange.name, key=key, body=b"") for key in keys]

    outcomes = await asyncio.gather(*posts, return_exceptions=True)

    assert [isinstance(outcome, UnroutableError) for outcome in outcomes] == [key.startswith("nowhere") for key in keys]
    assert all(outcome is None or isinstance(outcome, UnroutableError) for outcome in outcomes)


async def test_cancelled_caller_leaves_the_channel_alone(broker: Broker, publisher: Publisher, cluster: ClusterTopology) -> None:
    """A caller that goes away takes nothing back and disturbs no other message: all are stored, on one channel."""
    async with StreamReader.attach(broker, cluster.lane_journal(3).name, "next") as reader:
        callers = [
            asyncio.create_task(publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(3), body=b"%d" % number)) for number in range(100)
        ]
        await asyncio.sleep(0)
        for caller in callers[::2]:
            caller.cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        seen = list[int]()
        while len(seen) < 100:
            seen += [int(record.body) for record in await reader.read(5)]

    assert seen == list(range(100))
    assert [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, asyncio.CancelledError)] == []


async def test_missing_exchange_costs_one_channel_only(publisher: Publisher, cluster: ClusterTopology) -> None:
    """A message to an exchange that does not exist fails, and the publisher goes on with a new channel."""
    with pytest.raises(UnconfirmedError, match="NOT_FOUND"):
        await publisher.publish(exchange="sw.never-declared", key="k", body=b"")

    await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"")


async def test_closed_publisher_refuses(broker: Broker, cluster: ClusterTopology) -> None:
    """Closing waits for the answers that are due; afterwards nothing is sent any more."""
    async with Publisher(link=broker.publishing) as publisher:
        posts = [publisher.post(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"") for _ in range(50)]

    assert all(post.done() and post.exception() is None for post in posts)
    with pytest.raises(BrokerUnavailableError):
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"")


async def test_message_that_amqp_cannot_carry_is_refused(publisher: Publisher, cluster: ClusterTopology) -> None:
    """A message with an impossible part fails alone, before anything of it is sent."""
    with pytest.raises(ValueError, match="64 bits"):
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"", headers={"n": 2**64})

    await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"")
