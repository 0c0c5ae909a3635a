"""Reading streams: from any place, in order, with bounded memory."""

from __future__ import annotations

import pytest

from broker.errors import NotDeclaredError
from broker.journal.stream import StreamReader, last_records
from broker.link import Broker
from broker.publishing import Publisher
from schemas.topology import ClusterTopology
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


async def fill(publisher: Publisher, cluster: ClusterTopology, count: int, size: int = 0) -> None:
    """Append records that hold their own number; set-up wrote the one at offset 0."""
    posts = [publisher.post(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"%d " % number + bytes(size)) for number in range(1, count + 1)]
    for post in posts:
        await post


async def read_until(reader: StreamReader, last: int) -> list[int]:
    """Return the offsets that come until ``last``."""
    offsets = list[int]()
    while not offsets or offsets[-1] < last:
        records = await reader.read(5)
        assert records, f"nothing after {offsets[-1:]}"
        offsets += [record.offset for record in records]
    return offsets


@pytest.mark.parametrize(("at", "expected"), [("first", 0), (0, 0), (1, 1), (37, 37), (100, 100)])
async def test_reading_starts_at_the_very_offset(broker: Broker, publisher: Publisher, make_cluster: MakeCluster, at: int, expected: int) -> None:
    """A reader gets exactly the records from its offset on, in order and once, although the broker may deliver whole chunks."""
    cluster = await make_cluster()
    await fill(publisher, cluster, 100)

    async with StreamReader.attach(broker, cluster.lane_journal(0).name, at) as reader:
        assert list(range(expected, 101)) == await read_until(reader, 100)


async def test_next_sees_only_what_comes_later(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A reader at ``next`` sees nothing of what was there, and the first record that is written later."""
    cluster = await make_cluster()
    await fill(publisher, cluster, 3)

    async with StreamReader.attach(broker, cluster.lane_journal(0).name, "next") as reader:
        assert await reader.read(0.3) == []
        await fill(publisher, cluster, 1)
        assert [record.offset for record in await reader.read(5)] == [4]


async def test_last_records_end_with_the_newest(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """The last chunk is there at once after a confirm, and ends with the record that was confirmed last."""
    cluster = await make_cluster()
    for last in range(1, 20):
        await fill(publisher, cluster, 1)

        assert last == (await last_records(broker, cluster.lane_journal(0).name))[-1].offset


async def test_fresh_lane_holds_the_seed(broker: Broker, make_cluster: MakeCluster) -> None:
    """Set-up leaves one record in a new journal, so that its last chunk never has to be guessed by a time-out."""
    cluster = await make_cluster()

    (seed,) = await last_records(broker, cluster.lane_journal(0).name)

    assert (seed.offset, seed.headers["kind"]) == (0, "seed")


async def test_empty_stream_has_no_last_records(broker: Broker, make_cluster: MakeCluster) -> None:
    """A stream that nobody ever wrote to has no last chunk."""
    channel = await broker.consuming.channel(within=5)
    name = f"{(await make_cluster()).cluster}.empty"
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})

    assert await last_records(broker, name) == []
    await channel.queue_delete(name)
    await channel.close()


async def test_missing_stream_is_told_apart(broker: Broker) -> None:
    """A stream that was never declared is named as such."""
    with pytest.raises(NotDeclaredError):
        async with StreamReader.attach(broker, "sw.never-declared", "first"):
            pass


async def test_unread_reader_holds_a_bounded_amount(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A reader that nobody reads is sent no more than its credit and the rest of a chunk; reading brings all the others."""
    cluster = await make_cluster()
    for _ in range(40):
        await fill(publisher, cluster, 25, size=1000)

    async with StreamReader.attach(broker, cluster.lane_journal(0).name, "first", credit=50) as reader:
        # The broker's answer to a later question comes behind what it sends ahead.
        await reader.count(within=5)
        held = [record.offset for record in reader.ready()]
        rest = await read_until(reader, 1000)

    assert 0 < len(held) <= 100
    assert held + rest == list(range(1001))


async def test_two_readers_see_the_same(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Reading takes nothing away: two readers of one stream get the same records."""
    cluster = await make_cluster()
    await fill(publisher, cluster, 50)

    async with (
        StreamReader.attach(broker, cluster.lane_journal(0).name, "first") as one,
        StreamReader.attach(broker, cluster.lane_journal(0).name, "first") as other,
    ):
        assert await read_until(one, 50) == await read_until(other, 50)
