"""Free lanes: each token leads to one lease, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broker.declaring import declare
from broker.lanes import FreeLanes, LaneLease
from broker.link import Broker
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


async def test_each_lane_is_leased_once(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Requests at once get different lanes, and the one too many gets none."""
    cluster = await make_cluster(lanes=4)
    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)

    leases = await asyncio.gather(*(lanes.take(within=5) for _ in range(5)))

    assert sorted(lease.lane for lease in leases if lease is not None) == [0, 1, 2, 3]
    await _give_back(leases)
    await lanes.aclose()


async def test_token_given_back_can_be_taken_again(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A lease that is given back is there for the next request, one that was kept is not until its lane is put back."""
    cluster = await make_cluster(lanes=1)
    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)
    first = await lanes.take(within=5)
    assert first is not None
    await first.give_back()
    second = await eventually(lambda: lanes.take(within=5), within=5)
    assert second is not None
    await second.keep()

    assert await lanes.take(within=5) is None
    await lanes.put(0)
    third = await lanes.take(within=5)
    assert third is not None
    assert third.lane == 0
    await third.give_back()
    await lanes.aclose()


async def test_cancelled_request_loses_no_token(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Taking a token can be cancelled at any moment without losing it."""
    cluster = await make_cluster(lanes=1)
    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)
    for step in range(12):
        taking = asyncio.create_task(lanes.take(within=5))
        for _ in range(step):
            await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        if not taking.cancelled():
            await _give_back([taking.result()])

        lease = await eventually(lambda: lanes.take(within=5), within=5)
        assert lease is not None
        await lease.give_back()
        await eventually(lambda: _ready(lanes, 1), within=5)
    await lanes.aclose()


async def test_unreadable_token_goes_to_the_dead_letters(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A token that nobody can read is passed over, and does not come again."""
    cluster = await make_cluster(lanes=1)
    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)
    lease = await lanes.take(within=5)
    assert lease is not None
    await publisher.publish(exchange=cluster.exchange.name, key=cluster.free_key, body=b"\xc1 no token")

    assert await lanes.take(within=5) is None
    await lease.give_back()
    await lanes.aclose()


async def test_gateways_race_for_tokens(broker_settings: BrokerSettings, broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Two gateways that take, keep and give back at once never hold the same lane, and no lane is lost in the end."""
    cluster = await make_cluster(lanes=8)
    held = set[int]()

    async def work(lanes: FreeLanes, rounds: int) -> None:
        for number in range(rounds):
            lease = await lanes.take(within=10)
            if lease is None:
                continue
            assert lease.lane not in held
            held.add(lease.lane)
            await asyncio.sleep(0)
            held.remove(lease.lane)
            if number % 2:
                await lease.keep()
                await lanes.put(lease.lane)
            else:
                await lease.give_back()

    async with Broker(settings=broker_settings, name="another gateway") as other:
        gateways = [FreeLanes(broker=one, cluster=cluster.cluster, publisher=publisher) for one in (broker, other)]
        await asyncio.gather(*(work(lanes, 20) for lanes in gateways for _ in range(6)))
        await eventually(lambda: _ready(gateways[0], 8), within=5)
        for lanes in gateways:
            await lanes.aclose()


async def test_set_up_at_once_does_no_harm(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """Two set-ups that run at once leave every lane with a token; a surplus one leads to a lane that exists."""
    cluster = await make_cluster(lanes=1)
    larger = ClusterTopology(cluster=cluster.cluster, lanes=12, limits=cluster.limits)

    reports = await asyncio.gather(declare(broker, larger), declare(broker, larger))

    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)
    leases = [lease for _ in range(30) if (lease := await lanes.take(within=5)) is not None]
    assert {lease.lane for lease in leases} == set(range(12))
    assert len(leases) == 1 + sum(report.new_lanes for report in reports)
    await _give_back(leases)
    await lanes.aclose()


async def test_set_up_again_adds_no_tokens(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> None:
    """A second set-up changes nothing; a larger one adds the new lanes and their tokens only."""
    cluster = await make_cluster(lanes=2)
    lanes = FreeLanes(broker=broker, cluster=cluster.cluster, publisher=publisher)

    again = await declare(broker, cluster)
    larger = await declare(broker, ClusterTopology(cluster=cluster.cluster, lanes=5, limits=cluster.limits))

    assert (again.new_lanes, larger.new_lanes) == (0, 3)
    leases = await asyncio.gather(*(lanes.take(within=5) for _ in range(6)))
    assert sorted(lease.lane for lease in leases if lease is not None) == [0, 1, 2, 3, 4]
    await _give_back(leases)
    await lanes.aclose()


async def _give_back(leases: Sequence[LaneLease | None]) -> None:
    for lease in leases:
        if lease is not None:
            await lease.give_back()


async def _ready(lanes: FreeLanes, count: int) -> bool:
    return await lanes.count() == count
