"""What breaks between here and the broker: nothing is lost in silence, nothing hangs, everything comes back by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.claims import ClaimSource, publish_claim
from broker.control import ControlBus
from broker.declaring import declare
from broker.errors import BrokerError, BrokerUnavailableError, UnconfirmedError
from broker.journal.stream import StreamReader, last_records
from broker.link import Broker, BrokerLink
from broker.node import PrivateNode
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.control import ControlMessage, Doubt
from schemas.topology import ClusterTopology
from tests.broker.test_claims import a_claim
from tests.support.chaosproxy import ChaosProxy
from tests.support.eventually import eventually

pytestmark = pytest.mark.broker

_HOLDER = """
import asyncio, pathlib, sys
from broker.claims import ClaimSource
from broker.link import Broker
from runtime import logs
from runtime.settings import BrokerSettings

async def main(url, password_file, cluster):
    logs.configure("error")
    settings = BrokerSettings(urls=(url,), password_file=pathlib.Path(password_file))
    async with Broker(settings=settings, name="holder") as broker:
        session = await ClaimSource(broker=broker, cluster=cluster).next()
        print(session.claim_id, flush=True)
        await session.closed.wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def proxy(own_node: PrivateNode) -> AsyncIterator[ChaosProxy]:
    """A proxy in front of the module's own node."""
    async with ChaosProxy(host="127.0.0.1", port=own_node.port) as proxy:
        yield proxy


def through(proxy: ChaosProxy, node: PrivateNode, heartbeat: int = 5) -> BrokerSettings:
    """Return settings that lead through the proxy."""
    url = f"amqp://sluiceway@127.0.0.1:{proxy.port}/"
    return BrokerSettings(urls=(url,), password_file=node.password_file, heartbeat=heartbeat)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_killed_node_keeps_what_it_confirmed(tmp_path: Path) -> None:
    """After kill -9 and a restart on the same folder every confirmed message is there, and the same publisher goes on."""
    confirmed = list[int]()
    cluster = ClusterTopology(cluster="killed", lanes=1)

    async def publish(publisher: Publisher, number: int) -> None:
        try:
            await publisher.publish(exchange=cluster.exchange.name, key=cluster.input_key(0), body=b"%d" % number)
        except BrokerError:
            return
        confirmed.append(number)

    async with PrivateNode(directory=tmp_path) as node, Broker(settings=node.broker_settings, name="tests") as broker:
        await broker.wait_ready(10)
        await declare(broker, cluster)
        await eventually(lambda: asyncio.to_thread(_registered, tmp_path), within=15)
        async with Publisher(link=broker.publishing, deadline=2) as publisher:
            async with asyncio.TaskGroup() as group:
                for number in range(1000):
                    group.create_task(publish(publisher, number))
                await eventually(lambda: len(confirmed) > 100, within=5)
                await node.kill()
            await node.start()
            await broker.wait_ready(15)
            await publish(publisher, 1000)
        seen = await _drain(broker, cluster.lane_input(0).name)

    assert len(confirmed) > 100
    assert set(confirmed) <= seen
    assert 1000 in seen


async def test_closed_connections_come_back(own_node: PrivateNode, own_broker: Broker, own_cluster: ClusterTopology) -> None:
    """When an operator closes all connections, a session's holder learns it, the claim comes back, bus and publisher go on."""
    heard = list[ControlMessage]()
    source = ClaimSource(broker=own_broker, cluster=own_cluster.cluster)
    async with (
        Publisher(link=own_broker.publishing) as publisher,
        ControlBus(broker=own_broker, publisher=publisher, keys=["test.key"], on_message=heard.append) as bus,
    ):
        await bus.wait_ready(5)
        await publish_claim(publisher, a_claim(own_cluster), "claim-1")
        session = await source.next()
        await own_node.control("close_all_connections", "a test")

        await asyncio.wait_for(session.closed.wait(), 5)
        again = await asyncio.wait_for(source.next(), 10)
        await bus.wait_ready(10)
        await eventually(lambda: _sends(bus), within=10)

        assert not session.alive
        assert (again.claim_id, again.delivery_count) == ("claim-1", 1)
        await eventually(lambda: Doubt(sid=b"1") in heard, within=5)
        await again.ack_claim()
        await again.aclose()


async def test_reader_learns_of_a_lost_connection(own_node: PrivateNode, own_broker: Broker, own_cluster: ClusterTopology) -> None:
    """A stream reader whose connection dies while it waits fails at once, and a new one can be attached where it stood."""
    queue = own_cluster.lane_journal(0).name
    async with StreamReader.attach(own_broker, queue, "next") as reader:
        reading = asyncio.create_task(reader.read())
        await own_node.control("close_all_connections", "a test")
        with pytest.raises(BrokerUnavailableError):
            await asyncio.wait_for(reading, 5)

    await own_broker.wait_ready(10)
    assert await last_records(own_broker, queue)


async def test_blocked_connection_refuses_at_once(own_node: PrivateNode, own_broker: Broker, own_cluster: ClusterTopology) -> None:
    """Under a memory alarm publishing fails within a moment as safe to repeat, consuming goes on, and afterwards all is as before."""

    async def refused(publisher: Publisher) -> bool:
        start = time.monotonic()
        try:
            await publisher.publish(exchange=own_cluster.exchange.name, key=own_cluster.journal_key(0), body=b"")
        except BrokerUnavailableError:
            return time.monotonic() - start < 0.1
        except UnconfirmedError:
            # The broker says "blocked" to a connection only once it publishes.
            return False
        return False

    async with Publisher(link=own_broker.publishing, deadline=1) as publisher:
        await own_node.control("set_vm_memory_high_watermark", "0.00001")
        try:
            await eventually(lambda: refused(publisher), within=15)
            assert own_broker.publishing.blocked
            assert not own_broker.ready
            assert await last_records(own_broker, own_cluster.lane_journal(0).name)
        finally:
            await own_node.control("set_vm_memory_high_watermark", "0.4")
        await eventually(lambda: own_broker.ready, within=15)
        await eventually(lambda: _publishes(publisher, own_cluster), within=10)


async def test_confirm_that_stays_out(own_node: PrivateNode, own_cluster: ClusterTopology, proxy: ChaosProxy) -> None:
    """A message whose confirm does not arrive fails as unknown at its deadline, and the next one goes out on a fresh channel."""
    async with BrokerLink(settings=through(proxy, own_node, heartbeat=60), name="proxied") as link, Publisher(link=link, deadline=1) as publisher:
        assert await _publishes(publisher, own_cluster)
        proxy.hold_answers()
        start = time.monotonic()
        with pytest.raises(UnconfirmedError):
            await publisher.publish(exchange=own_cluster.exchange.name, key=own_cluster.journal_key(0), body=b"unknown")
        took = time.monotonic() - start

        with pytest.raises(BrokerUnavailableError):
            await publisher.publish(exchange=own_cluster.exchange.name, key=own_cluster.journal_key(0), body=b"never sent")
        proxy.release()
        await eventually(lambda: _publishes(publisher, own_cluster), within=5)

        assert 0.9 < took < 2
        assert proxy.accepted == 1, "the connection was given up, not only the channel"


async def test_cut_connection_leaves_messages_unknown(own_node: PrivateNode, own_cluster: ClusterTopology, proxy: ChaosProxy) -> None:
    """When the connection is cut with messages in flight, they fail at once as unknown, without waiting for the deadline."""
    async with BrokerLink(settings=through(proxy, own_node), name="proxied") as link, Publisher(link=link, deadline=30) as publisher:
        assert await _publishes(publisher, own_cluster)
        proxy.hold_answers()
        posts = [publisher.post(exchange=own_cluster.exchange.name, key=own_cluster.journal_key(0), body=b"") for _ in range(10)]
        await asyncio.wait(posts, timeout=0.2)
        await proxy.cut()

        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*posts, return_exceptions=True)
        proxy.release()
        await eventually(lambda: _publishes(publisher, own_cluster), within=10)

    assert {type(outcome) for outcome in outcomes} == {UnconfirmedError}


async def test_unreachable_broker_fails_within_the_deadline(own_node: PrivateNode, own_cluster: ClusterTopology, proxy: ChaosProxy) -> None:
    """While no node can be reached, publishing fails at its deadline as safe to repeat, and works soon after a node is back."""
    proxy.refusing = True
    async with BrokerLink(settings=through(proxy, own_node), name="proxied") as link, Publisher(link=link, deadline=0.5) as publisher:
        start = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            await publisher.publish(exchange=own_cluster.exchange.name, key=own_cluster.journal_key(0), body=b"")
        took = time.monotonic() - start
        proxy.refusing = False
        await eventually(lambda: _publishes(publisher, own_cluster), within=15)

    assert 0.4 < took < 1.5


async def test_dead_node_is_passed_over(own_node: PrivateNode, proxy: ChaosProxy) -> None:
    """With one of two nodes away the link finds the other, whichever it tried first."""
    proxy.refusing = True
    urls = (f"amqp://sluiceway@127.0.0.1:{proxy.port}/", own_node.url)
    for _ in range(6):
        settings = BrokerSettings(urls=urls, password_file=own_node.password_file)
        async with BrokerLink(settings=settings, name="two nodes") as link:
            await link.wait_connected(5)


async def test_link_leaves_a_node_that_cannot_serve(own_node: PrivateNode, proxy: ChaosProxy) -> None:
    """A link that is told to move on goes to the other node; with a single node it stays, since there is nothing to gain."""
    async with ChaosProxy(host="127.0.0.1", port=own_node.port) as second:
        urls = tuple(f"amqp://sluiceway@127.0.0.1:{one.port}/" for one in (proxy, second))
        async with BrokerLink(settings=BrokerSettings(urls=urls, password_file=own_node.password_file), name="two nodes") as link:
            await link.wait_connected(5)
            first = [proxy.accepted, second.accepted]
            await link.move_on()
            await eventually(lambda: [proxy.accepted, second.accepted] == [1, 1], within=5)
            await link.wait_connected(5)
    async with BrokerLink(settings=through(proxy, own_node), name="one node") as link:
        await link.wait_connected(5)
        await link.move_on()

        assert link.connected
    assert sorted(first) == [0, 1]


async def test_silent_connection_is_given_up(own_node: PrivateNode, proxy: ChaosProxy) -> None:
    """A connection on which nothing arrives for three heartbeats is replaced."""
    async with BrokerLink(settings=through(proxy, own_node, heartbeat=1), name="proxied") as link:
        await link.wait_connected(5)
        proxy.hold_answers()
        await eventually(lambda: not link.connected, within=15)
        await proxy.cut()
        proxy.release()

        await link.wait_connected(10)


async def test_claim_of_a_killed_holder_comes_back(own_node: PrivateNode, own_broker: Broker, own_cluster: ClusterTopology) -> None:
    """The claim of a process that was killed is offered to the next worker at once, counted as given back."""
    source = ClaimSource(broker=own_broker, cluster=own_cluster.cluster)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, own_node.url, str(own_node.password_file), own_cluster.cluster, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with Publisher(link=own_broker.publishing) as publisher:
            await publish_claim(publisher, a_claim(own_cluster), "claim-2")
        assert holder.stdout is not None
        assert (await asyncio.wait_for(holder.stdout.readline(), 10)).strip() == b"claim-2"
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        await holder.wait()

    session = await asyncio.wait_for(source.next(), 5)

    assert (session.claim_id, session.delivery_count) == ("claim-2", 1)
    await session.ack_claim()
    await session.aclose()


async def test_deleted_queue_ends_the_session(own_broker: Broker, own_cluster: ClusterTopology) -> None:
    """A session whose input queue is deleted under it is closed, and does not look alive while it hears nothing."""
    source = ClaimSource(broker=own_broker, cluster=own_cluster.cluster)
    async with Publisher(link=own_broker.publishing) as publisher:
        await publish_claim(publisher, a_claim(own_cluster), "claim-3")
    session = await source.next()
    channel = await own_broker.consuming.channel(within=5)
    name = "sw.own.doomed"
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    await session.consume(name, prefetch=1, sink=lambda _: None)

    await channel.queue_delete(name)

    await asyncio.wait_for(session.closed.wait(), 5)
    again = await source.next()
    await again.ack_claim()
    await again.aclose()
    await channel.close()


def _registered(folder: Path) -> bool:
    """Whether RabbitMQ has written down which queues it has: its tables (Erlang's dets) reach the disk three seconds late.

    A node that is killed before that forgets what was declared last.
    """
    newest = max(file.stat().st_mtime for file in folder.glob("data/*/*/*/*.dets"))
    return time.time() - newest > 3.5


async def _sends(bus: ControlBus) -> bool:
    try:
        await bus.send("test.key", Doubt(sid=b"1"), mandatory=True)
    except BrokerError:
        return False
    return True


async def _publishes(publisher: Publisher, cluster: ClusterTopology) -> bool:
    try:
        await publisher.publish(exchange=cluster.exchange.name, key=cluster.journal_key(0), body=b"")
    except BrokerError:
        return False
    return True


async def _drain(broker: Broker, queue: str) -> set[int]:
    """Take everything out of a queue."""
    channel = await broker.consuming.channel(within=5)
    seen = set[int]()
    while (message := await channel.basic_get(queue, no_ack=True)).delivery_tag is not None:
        seen.add(int(message.body))
    await channel.close()
    return seen
