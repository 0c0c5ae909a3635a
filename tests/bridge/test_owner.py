"""A session's owner against a real broker: what a client asked for is run once and shown in order, whoever owns the session."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bridge.settings import BridgeSettings, SessionSettings, WorkerSettings
from bridge.worker import Worker
from broker.claims import publish_claim
from broker.journal.follower import Follower, VisibleOutputs, follow
from broker.journal.stream import last_records
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.cursors import START, Cursor
from schemas.ids import Position, SessionId, fingerprint, key_hash
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange, TaskInput, encode_inputs
from schemas.records import body_digest
from schemas.symphony import SessionCreationAttributes
from schemas.topology import ClusterTopology
from tests.support.echogrid import EchoConnector
from tests.support.eventually import eventually
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.asyncio

DELAY = 0.6
"""Seconds of acknowledgement delay: short, so that tests see inputs given up."""


class Client:
    """A client's side without a gateway: makes sessions, sends inputs, reads outputs."""

    def __init__(self, *, broker: Broker, publisher: Publisher, topology: ClusterTopology) -> None:
        self.broker = broker
        self.publisher = publisher
        self.topology = topology
        self.free = FreeLanes(broker=broker, cluster=topology.cluster, publisher=publisher)

    async def create(self, **attributes: object) -> SessionId:
        """Do what a gateway does: take a lane, remember where its journal ends, publish the claim."""
        lease = await self.free.take(within=5)
        assert lease is not None
        tail = await last_records(self.broker, self.topology.lane_journal(lease.lane).name)
        born = Position(tail[-1].offset, tail[-1].message_id) if tail else None
        session = SessionId(
            sid=secrets.token_bytes(16),
            cluster=self.topology.cluster,
            lane=lease.lane,
            grid="GRID",
            application="echo",
            principal="token|test",
            connection=b"c" * 16,
            born=born,
        )
        claim = Claim(
            sid=session.sid,
            cluster=session.cluster,
            lane=session.lane,
            grid=session.grid,
            application=session.application,
            principal=session.principal,
            connection=session.connection,
            attributes=SessionCreationAttributes(**attributes),  # type: ignore[arg-type]
            born=born,
            created_at=time.time(),
        )
        await publish_claim(self.publisher, claim, secrets.token_hex(8))
        await lease.keep()
        return session

    async def send(self, session: SessionId, payloads: Sequence[bytes], *, key: str = "", tag: str = "") -> None:
        """Publish one submission as one message."""
        run = SubmissionRange(key_hash(session.sid, key or secrets.token_hex(8)), fingerprint(*payloads), len(payloads), 0, len(payloads))
        body = encode_inputs([TaskInput(payload, tag) for payload in payloads])
        headers = InputHeaders(sid=session.sid, kind=InputKind.INPUTS, ranges=(run,), digest=body_digest(body))
        await self.publisher.publish(exchange=self.topology.exchange.name, key=self.topology.input_key(session.lane), body=body, headers=headers.to_table())

    async def outputs(self, session: SessionId, count: int, *, cursor: Cursor = START, within: float = 15) -> list[VisibleOutputs]:
        """Read until ``count`` outputs have come."""
        async with asyncio.timeout(within), follow(self.broker, session, cursor) as follower:
            return await self.collect(follower, count)

    @staticmethod
    async def collect(follower: Follower, count: int) -> list[VisibleOutputs]:
        """Read on until ``count`` outputs have come."""
        got: list[VisibleOutputs] = []
        while sum(len(one.outputs) for one in got) < count:
            got.extend(await follower.read(1.0))
        return got

    async def waiting(self, session: SessionId) -> int:
        """Messages in the lane that nobody holds."""
        channel = await self.broker.consuming.channel(within=5)
        try:
            declared = await channel.queue_declare(self.topology.lane_input(session.lane).name, passive=True)
            return declared.message_count or 0
        finally:
            await channel.close()


def settings(topology: ClusterTopology, broker: BrokerSettings, **session: float) -> BridgeSettings:
    """Settings of a worker with short times."""
    times: dict[str, float] = {"ack_delay": DELAY, "reading_seconds": 0.3, "idle_reading_seconds": 1.0} | session
    return BridgeSettings(
        cluster=topology.cluster,
        broker=broker,
        connector=EchoConnector.settings(),
        worker=WorkerSettings(sessions=20, drain_seconds=5),
        session=SessionSettings(**times),  # type: ignore[arg-type]
        lanes=topology.limits,
    )


@asynccontextmanager
async def working(name: str, chosen: BridgeSettings, connector: EchoConnector | None = None) -> AsyncIterator[tuple[Worker, asyncio.Event]]:
    """A worker of its own connection that drains at the end of the block."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - one registry per worker

    from bridge.metrics import BridgeMetrics  # noqa: PLC0415 - as above

    stop = asyncio.Event()
    async with Broker(settings=chosen.broker, name=name) as broker:
        await broker.wait_ready(10)
        grid = connector or EchoConnector()
        metrics = BridgeMetrics(registry=CollectorRegistry())
        async with Worker(name=name, settings=chosen, broker=broker, connector=grid, metrics=metrics) as worker, asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(stop))
            try:
                yield worker, stop
            finally:
                stop.set()


@pytest.fixture
async def client(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> Client:
    """A client on a fresh cluster of two lanes."""
    return Client(broker=broker, publisher=publisher, topology=await make_cluster(lanes=2))


def numbers(got: list[VisibleOutputs]) -> list[int]:
    """The sequence numbers that were shown."""
    return [number for one in got for number in range(one.first, one.end)]


def payloads(got: list[VisibleOutputs]) -> list[bytes | None]:
    """The payloads that were shown."""
    return [output.payload for one in got for output in one.outputs]


async def test_outputs_are_numbered_without_a_gap_and_shown_once(client: Client, broker_settings: BrokerSettings) -> None:
    """Three hundred tasks in three submissions give the outputs 1 to 300, one per task."""
    async with working("a", settings(client.topology, broker_settings)):
        session = await client.create()
        for part in range(3):
            await client.send(session, [b"%d-%d" % (part, index) for index in range(100)])
        got = await client.outputs(session, 300)

    assert list(range(1, 301)) == numbers(got)
    assert {b"%d-%d" % (part, index) for part in range(3) for index in range(100)} == set(payloads(got))


async def test_a_cursor_shows_the_same_outputs_again(client: Client, broker_settings: BrokerSettings) -> None:
    """Two readers with one cursor, even one in the middle of a record, get the same outputs."""
    async with working("a", settings(client.topology, broker_settings)):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(50)])
        first = await client.outputs(session, 50)
        cursor = first[0].cursor(first[0].first + 1)
        again = await client.outputs(session, 49, cursor=cursor)
        once_more = await client.outputs(session, 49, cursor=cursor)

    assert again == once_more
    assert payloads(first) == payloads(again)


async def test_a_repeated_submission_is_run_once(client: Client, broker_settings: BrokerSettings) -> None:
    """The same key and body twice give one output per task, before and after the first has finished."""
    grid = EchoConnector()
    async with working("a", settings(client.topology, broker_settings), grid):
        session = await client.create()
        await client.send(session, [b"x", b"y"], key="k")
        await client.send(session, [b"x", b"y"], key="k")
        await client.outputs(session, 2)
        await client.send(session, [b"x", b"y"], key="k")
        await client.send(session, [b"z"], key="other")
        got = await client.outputs(session, 3)

    assert numbers(got) == [1, 2, 3]
    assert payloads(got) == [b"x", b"y", b"z"]
    assert len(grid.runs) == 3


async def test_inputs_are_given_up_only_after_the_delay(client: Client, broker_settings: BrokerSettings) -> None:
    """An input whose output nobody acknowledged goes when a second reading, the delay later, still shows the output."""
    chosen = settings(client.topology, broker_settings)
    async with working("a", chosen) as (worker, _):
        session = await client.create()
        await client.send(session, [b"x"])
        await client.outputs(session, 1)
        owner = worker._owners[session.sid]
        assert len(owner._session.holding) == 1

        await eventually(lambda: not len(owner._session.holding), within=10)


async def test_a_drained_worker_hands_over_without_running_finished_work_again(client: Client, broker_settings: BrokerSettings) -> None:
    """What has an output before SIGTERM is not run by the successor; what comes later is."""
    chosen = settings(client.topology, broker_settings, ack_delay=30)
    first, second = EchoConnector(), EchoConnector()
    async with working("a", chosen, first) as (_, stop):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(20)])
        got = await client.outputs(session, 20)
        stop.set()
    async with working("b", chosen, second):
        await client.send(session, [b"late"])
        later = await client.outputs(session, 1, cursor=got[-1].cursor(21))

    assert len(first.runs) == 20
    assert [payload for _, payload in second.runs] == [b"late"]
    assert numbers(later) == [21]
    assert payloads(later) == [b"late"]


async def test_tasks_of_an_owner_that_lost_its_channel_are_run_again_and_shown_once(client: Client, broker_settings: BrokerSettings) -> None:
    """Tasks that an owner had taken and not finished when its channel closed are run under a new epoch, by whichever worker gets the claim."""
    chosen = settings(client.topology, broker_settings)
    grid = EchoConnector(stuck=True)
    async with working("a", chosen, grid) as (worker, _), working("b", chosen, grid) as (other, _):
        session = await client.create()
        await client.send(session, [b"%d" % index for index in range(10)])
        await eventually(lambda: len(grid.runs) == 10, within=10)
        grid.stuck = False
        owner = worker._owners.get(session.sid) or other._owners[session.sid]
        await owner._session.channel.aclose()
        got = await client.outputs(session, 10)

    assert list(range(1, 11)) == numbers(got)
    assert {2} == {one.num for one in got}


async def test_an_unreadable_bundle_ends_in_failed_outputs(client: Client, broker_settings: BrokerSettings) -> None:
    """A damaged body gives each of its tasks a failed output, a copy goes to the dead letters, and the lane moves on."""
    async with working("a", settings(client.topology, broker_settings)):
        session = await client.create()
        run = SubmissionRange(key_hash(session.sid, "bad"), b"1234", 2, 0, 2)
        headers = InputHeaders(sid=session.sid, kind=InputKind.INPUTS, ranges=(run,), digest=body_digest(b"another body"))
        key = client.topology.input_key(session.lane)
        await client.publisher.publish(exchange=client.topology.exchange.name, key=key, body=b"garbage", headers=headers.to_table())
        await client.send(session, [b"good"])
        got = await client.outputs(session, 3)

    outputs = [output for one in got for output in one.outputs]
    codes = {output.exception.code if output.exception else None for output in outputs}
    assert {"invalid-input", None} == codes
    assert len(outputs) == 3
