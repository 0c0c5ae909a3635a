"""Writing a journal: in order, numbered, with what is unconfirmed counted."""

from __future__ import annotations

import pytest

from broker.errors import BrokerUnavailableError
from broker.journal.stream import StreamReader
from broker.journal.writer import JournalWriter
from broker.link import Broker, BrokerLink
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.ids import Position
from schemas.records import Mark, Opened, Outputs, RecordHeaders, RecordKind, TaskOutput, decode_body
from schemas.topology import ClusterTopology
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


def a_writer(publisher: Publisher, cluster: ClusterTopology) -> JournalWriter:
    """Return a writer to lane 0."""
    return JournalWriter(publisher=publisher, cluster=cluster.cluster, lane=0, sid=b"s" * 16, worker="bridge-1")


def outputs(number: int, size: int = 10) -> Outputs:
    """Return a bundle of one output."""
    return Outputs([TaskOutput(task_id=bytes(24), of=1, tag="", finished_at=float(number), payload=bytes(size))])


async def test_records_come_back_in_order_and_whole(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Appended records are read back in order with consecutive numbers, their headers and their bodies; an epoch starts at 1 again."""
    cluster = await make_cluster()
    writer = a_writer(publisher, cluster)
    first = writer.begin(4)
    writer.append(RecordKind.MARK, Mark("claim"))
    for number in range(200):
        writer.append(RecordKind.OUTS, outputs(number), first=number + 1, scan=Position(7, "there"))
    second = writer.begin(5)
    last = writer.append(RecordKind.OPENED, Opened(native_id="42"))
    await writer.aclose()

    raw = list[tuple[RecordHeaders, bytes, str]]()
    async with StreamReader.attach(broker, cluster.lane_journal(0).name, 1) as reader:
        while len(raw) < 202:
            raw += [(RecordHeaders.from_table(record.headers), record.body, record.message_id) for record in await reader.read(5)]
    bodies = [decode_body(headers, body) for headers, body, _ in raw]

    assert [headers.pub for headers, _, _ in raw] == [*range(1, 202), 1]
    assert [headers.message_id for headers, _, _ in raw] == [message_id for _, _, message_id in raw]
    assert {(headers.num, headers.nonce) for headers, _, _ in raw} == {(4, first), (5, second)}
    assert [(headers.first, headers.count) for headers, _, _ in raw[1:201]] == [(number + 1, 1) for number in range(200)]
    assert raw[1][0].scan == Position(7, "there")
    assert bodies == [Mark("claim"), *(outputs(number) for number in range(200)), Opened(native_id="42")]
    assert last.pub == 1


async def test_unconfirmed_bytes_are_counted(publisher: Publisher, make_cluster: MakeCluster) -> None:
    """What was appended counts until it is confirmed, and a writer can wait until little enough is left."""
    cluster = await make_cluster()
    writer = a_writer(publisher, cluster)
    writer.begin(1)
    appended = [writer.append(RecordKind.OUTS, outputs(number, size=10_000), first=number + 1) for number in range(20)]
    before = writer.unconfirmed_bytes

    await writer.drained(50_000)
    between = writer.unconfirmed_bytes
    await writer.drained(0)

    assert before == sum(record.size for record in appended) > 200_000
    assert between < 50_000
    assert writer.unconfirmed_bytes == 0
    assert all(record.confirmed.done() and not record.failed for record in appended)


async def test_record_that_cannot_be_sent_fails(make_cluster: MakeCluster) -> None:
    """Without a broker an appended record fails in time and is counted no longer."""
    cluster = await make_cluster()
    settings = BrokerSettings(urls=("amqp://guest@127.0.0.1:9/",))
    async with BrokerLink(settings=settings, name="nowhere") as link, Publisher(link=link, deadline=0.2) as publisher:
        writer = a_writer(publisher, cluster)
        writer.begin(1)
        record = writer.append(RecordKind.OPENED, Opened(native_id=""))
        with pytest.raises(BrokerUnavailableError):
            await record.confirmed
        await writer.aclose()

    assert record.failed
    assert writer.unconfirmed_bytes == 0


async def test_no_record_without_an_epoch(publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A writer refuses records before an epoch was begun."""
    writer = a_writer(publisher, await make_cluster())

    with pytest.raises(ValueError, match="begin an epoch"):
        writer.append(RecordKind.OPENED, Opened(native_id=""))
