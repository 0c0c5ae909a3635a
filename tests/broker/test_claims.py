"""Claims and session channels: who holds the claim owns the session, and lets go of everything at once."""

from __future__ import annotations

import asyncio

import pytest

from broker.claims import ClaimSource, InputDelivery, SessionChannel, publish_claim
from broker.errors import BrokerUnavailableError
from broker.link import Broker
from broker.publishing import Publisher
from runtime import logs
from schemas.messages import Claim, decode_claim
from schemas.symphony import SessionCreationAttributes
from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


def a_claim(cluster: ClusterTopology, lane: int = 0) -> Claim:
    """Return a claim of that cluster."""
    return Claim(
        sid=bytes(16),
        cluster=cluster.cluster,
        lane=lane,
        grid="G",
        application="app",
        principal="alice",
        connection=bytes(16),
        attributes=SessionCreationAttributes(),
        born=None,
        created_at=1.0,
    )


async def test_claim_reaches_one_worker_with_its_id(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A claim is delivered with the id under which it was published, and counts as never given back."""
    cluster = await make_cluster()
    await publish_claim(publisher, a_claim(cluster), "claim-1")

    session = await ClaimSource(broker=broker, cluster=cluster.cluster).next()

    assert ("claim-1", 0, a_claim(cluster)) == (session.claim_id, session.delivery_count, decode_claim(session.claim_body))
    await session.aclose()


async def test_closing_gives_back_claim_and_inputs(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Closing a session's channel hands its claim and its unacknowledged inputs to the next owner; what was acknowledged stays away."""
    cluster = await make_cluster()
    source = ClaimSource(broker=broker, cluster=cluster.cluster)
    await publish_claim(publisher, a_claim(cluster), "claim-1")
    for number in range(5):
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.input_key(0), body=b"%d" % number)
    first = await source.next()
    seen = await _consume(first, cluster, 5)
    first.ack(seen[0].tag)
    first.ack(seen[2].tag)
    await first.aclose()

    second = await source.next()
    again = await _consume(second, cluster, 3)

    assert [delivery.body for delivery in seen] == [b"0", b"1", b"2", b"3", b"4"]
    assert (second.claim_id, second.delivery_count) == ("claim-1", 1)
    assert [(delivery.body, delivery.delivery_count) for delivery in again] == [(b"1", 1), (b"3", 1), (b"4", 1)]
    assert first.closed.is_set()
    assert not first.alive
    await second.aclose()


async def test_acknowledged_claim_is_used_up(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A claim that was acknowledged is offered to nobody again."""
    cluster = await make_cluster()
    source = ClaimSource(broker=broker, cluster=cluster.cluster)
    await publish_claim(publisher, a_claim(cluster), "claim-1")
    session = await source.next()
    await session.ack_claim()
    await session.aclose()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await source.next()


async def test_cancelled_waiting_loses_no_claim(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A wait for claims that is cancelled at any moment leaves every claim to the next wait."""
    cluster = await make_cluster()
    source = ClaimSource(broker=broker, cluster=cluster.cluster)
    for step in range(20):
        waiting = asyncio.create_task(source.next())
        publishing = asyncio.create_task(publish_claim(publisher, a_claim(cluster), f"claim-{step}"))
        for _ in range(step * 3):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting, publishing])
        session = waiting.result() if not waiting.cancelled() else await asyncio.wait_for(source.next(), 5)

        assert f"claim-{step}" == session.claim_id
        await session.ack_claim()
        await session.aclose()


async def test_acknowledging_on_a_dead_channel_does_nothing(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Acknowledgements on a closed channel are dropped in silence and harm no other channel of the connection."""
    cluster = await make_cluster()
    source = ClaimSource(broker=broker, cluster=cluster.cluster)
    await publish_claim(publisher, a_claim(cluster), "claim-1")
    session = await source.next()
    await session.aclose()

    session.ack(1)
    session.nack(2)
    await session.ack_claim()

    again = await source.next()
    assert again.claim_id == "claim-1"
    await again.probe(cluster.lane_input(0).name, within=5)
    await again.aclose()


async def test_inputs_come_in_order_within_the_prefetch(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Inputs are handed over in the order in which they were stored, and never more than the prefetch without an acknowledgement."""
    cluster = await make_cluster()
    posts = [publisher.post(exchange=cluster.exchange.name, key=cluster.input_key(0), body=b"%d" % number) for number in range(1000)]
    await asyncio.gather(*posts)
    await publish_claim(publisher, a_claim(cluster), "claim-1")
    session = await ClaimSource(broker=broker, cluster=cluster.cluster).next()
    seen, unacked, most = list[int](), 0, 0

    def take(delivery: InputDelivery) -> None:
        nonlocal unacked, most
        seen.append(int(delivery.body))
        unacked += 1
        most = max(most, unacked)
        if unacked == 20:
            for tag in range(delivery.tag - 19, delivery.tag + 1):
                session.ack(tag)
            unacked = 0

    await session.consume(cluster.lane_input(0).name, prefetch=20, sink=take)
    await eventually(lambda: len(seen) == 1000, within=10)

    assert seen == list(range(1000))
    assert most == 20
    await session.aclose()


async def test_broken_sink_gives_the_session_up(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A sink that raises ends its own session's channel and no other: the inputs go back, and other channels live on."""
    logs.configure("error")
    cluster = await make_cluster(lanes=2)
    source = ClaimSource(broker=broker, cluster=cluster.cluster)
    for lane in (0, 1):
        await publish_claim(publisher, a_claim(cluster, lane), f"claim-{lane}")
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.input_key(lane), body=b"input")
    broken, sound = await source.next(), await source.next()

    def fail(_: InputDelivery) -> None:
        raise KeyError("the sink is broken")

    await broken.consume(cluster.lane_input(0).name, prefetch=10, sink=fail)
    await asyncio.wait_for(broken.closed.wait(), 5)

    assert [delivery.body for delivery in await _consume(sound, cluster, 1, lane=1)] == [b"input"]
    again = await source.next()
    assert (again.claim_id, again.delivery_count) == ("claim-0", 1)
    assert [delivery.delivery_count for delivery in await _consume(again, cluster, 1)] == [1]
    await again.aclose()
    await sound.aclose()


async def test_probe_tells_a_dead_channel(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """The round trip succeeds on a live channel and fails on a closed one."""
    cluster = await make_cluster()
    await publish_claim(publisher, a_claim(cluster), "claim-1")
    session = await ClaimSource(broker=broker, cluster=cluster.cluster).next()

    await session.probe(cluster.lane_input(0).name, within=5)
    await session.aclose()

    with pytest.raises(BrokerUnavailableError):
        await session.probe(cluster.lane_input(0).name, within=5)


async def _consume(session: SessionChannel, cluster: ClusterTopology, count: int, lane: int = 0) -> list[InputDelivery]:
    seen = list[InputDelivery]()
    await session.consume(cluster.lane_input(lane).name, prefetch=100, sink=seen.append)
    await eventually(lambda: len(seen) == count, within=5)
    return seen
