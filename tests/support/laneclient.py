"""A client's side of a cluster without a gateway, and workers in this process: for tests that are about the owner alone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from bridge.metrics import BridgeMetrics
from bridge.settings import BridgeSettings, SessionSettings, WorkerSettings
from bridge.worker import Worker
from broker.claims import publish_claim
from broker.control import ControlBus, Requests
from broker.journal.fold import Fold
from broker.journal.follower import Follower, VisibleOutputs, follow
from broker.journal.stream import last_records
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from runtime.settings import BrokerSettings
from schemas.control import ControlMessage, Reply, Request, Verb, gateway_key, worker_key
from schemas.cursors import START, Cursor
from schemas.ids import Position, SessionId, fingerprint, key_hash
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange, TaskInput, encode_inputs
from schemas.records import body_digest
from schemas.symphony import SessionCreationAttributes
from schemas.topology import ClusterTopology
from tests.support.echogrid import EchoConnector

__all__ = ["DELAY", "LaneClient", "numbers", "payloads", "short_settings", "working"]

DELAY = 0.6
"""Seconds of acknowledgement delay: short, so that tests see inputs given up."""


class LaneClient:
    """A client's side without a gateway: makes sessions, sends inputs, reads outputs."""

    def __init__(self, *, broker: Broker, publisher: Publisher, topology: ClusterTopology) -> None:
        self.broker = broker
        self.publisher = publisher
        self.topology = topology
        self.free = FreeLanes(broker=broker, cluster=topology.cluster, publisher=publisher)

    async def create(self, *, application: str = "echo", common_data: bytes | None = None, lane: int | None = None, **attributes: object) -> SessionId:
        """Do what a gateway does: take a lane, remember where its journal ends, publish the claim.

        Args:
            application: Its application.
            common_data: Put into the lane before the claim.
            lane: Use this lane whether it is free or not.
            attributes: What the client says of the session.
        """
        lease = await self.free.take(within=5) if lane is None else None
        chosen = lease.lane if lease is not None else lane
        assert chosen is not None, "no lane is free"
        tail = await last_records(self.broker, self.topology.lane_journal(chosen).name)
        born = Position(tail[-1].offset, tail[-1].message_id) if tail else None
        sid = secrets.token_bytes(16)
        key = await self._put_common(sid, chosen, common_data) if common_data is not None else b""
        claim = Claim(
            sid=sid,
            cluster=self.topology.cluster,
            lane=chosen,
            grid="GRID",
            application=application,
            principal="token|test",
            connection=b"c" * 16,
            attributes=SessionCreationAttributes(**attributes),  # type: ignore[arg-type]
            common_data_key=key,
            born=born,
            created_at=time.time(),
        )
        await publish_claim(self.publisher, claim, secrets.token_hex(8))
        if lease is not None:
            await lease.keep()
        return SessionId(
            sid=sid,
            cluster=claim.cluster,
            lane=chosen,
            grid=claim.grid,
            application=application,
            principal=claim.principal,
            connection=claim.connection,
            born=born,
        )

    async def update(self, session: SessionId, common_data: bytes) -> None:
        """Replace the session's common data."""
        await self._put_common(session.sid, session.lane, common_data)

    async def _put_common(self, sid: bytes, lane: int, data: bytes) -> bytes:
        run = SubmissionRange(secrets.token_bytes(16), fingerprint(data), 1, 0, 1)
        headers = InputHeaders(sid=sid, kind=InputKind.COMMON, ranges=(run,), digest=body_digest(data))
        await self.publisher.publish(exchange=self.topology.exchange.name, key=self.topology.input_key(lane), body=data, headers=headers.to_table())
        return run.key + run.fp

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

    async def until(self, session: SessionId, reached: Callable[[Fold], bool], *, within: float = 10) -> Fold:
        """Read the session's journal until its state is as wanted."""
        async with asyncio.timeout(within), follow(self.broker, session, START) as follower:
            while not reached(follower.fold):
                await follower.read(0.5)
            return follower.fold

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Callable[..., Awaitable[Reply]]]:
        """A way to ask the worker ``worker`` something: ``await ask(worker, Verb.STATUS, session, ...)``."""
        requests: list[Requests] = []
        name = secrets.token_hex(4)

        def heard(message: ControlMessage) -> None:
            if isinstance(message, Reply):
                requests[0].deliver(message)

        async with ControlBus(broker=self.broker, publisher=self.publisher, keys=[gateway_key(name)], on_message=heard) as bus:
            requests.append(Requests(bus=bus, reply_to=gateway_key(name)))

            async def ask(worker: str, verb: Verb, session: SessionId, **more: object) -> Reply:
                request = Request(id="", reply_to="", verb=verb, sid=session.sid, **more)  # type: ignore[arg-type]
                return await requests[0].ask(worker_key(session.cluster, worker), request, within=10)

            yield ask

    async def free_lanes(self) -> int:
        """Tokens that lie ready."""
        return await self._count(self.topology.free.name)

    async def waiting(self, session: SessionId) -> int:
        """Messages in the lane that nobody holds."""
        return await self._count(self.topology.lane_input(session.lane).name)

    async def _count(self, queue: str) -> int:
        channel = await self.broker.consuming.channel(within=5)
        try:
            declared = await channel.queue_declare(queue, passive=True)
            return declared.message_count or 0
        finally:
            await channel.close()


def short_settings(topology: ClusterTopology, broker: BrokerSettings, **session: float) -> BridgeSettings:
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


def numbers(got: list[VisibleOutputs]) -> list[int]:
    """The sequence numbers that were shown."""
    return [number for one in got for number in range(one.first, one.end)]


def payloads(got: list[VisibleOutputs]) -> list[bytes | None]:
    """The payloads that were shown."""
    return [output.payload for one in got for output in one.outputs]
