"""The control bus: live messages, and requests with replies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from broker.control import ControlBus, Requests
from broker.errors import NoReplyError, UnroutableError
from broker.link import Broker
from broker.publishing import Publisher
from runtime import logs
from schemas.control import ControlMessage, Doubt, Reply, Request, Verb, cluster_key, gateway_key, worker_key
from schemas.topology import ClusterTopology
from tests.support.eventually import eventually

pytestmark = pytest.mark.broker


class Worker:
    """Answers requests with its name, unless told to be silent."""

    def __init__(self, broker: Broker, publisher: Publisher, cluster: str, *, silent: bool = False) -> None:
        self.name = f"worker-{secrets.token_hex(4)}"
        self.heard = list[ControlMessage]()
        self.silent = silent
        self._replies = set[asyncio.Task[None]]()
        self.key = worker_key(cluster, self.name)
        self.bus = ControlBus(broker=broker, publisher=publisher, keys=[self.key, cluster_key(cluster)], on_message=self._hear)

    def _hear(self, message: ControlMessage) -> None:
        self.heard.append(message)
        if isinstance(message, Request) and not self.silent:
            reply = self.bus.send(message.reply_to, Reply(id=message.id, worker=self.name))
            task = asyncio.ensure_future(reply)
            self._replies.add(task)
            task.add_done_callback(self._replies.discard)


@pytest.fixture
async def requests(broker: Broker, publisher: Publisher) -> AsyncIterator[Requests]:
    """Requests of one gateway."""
    key = gateway_key(secrets.token_hex(4))
    asked = list[Requests]()

    def hear(message: ControlMessage) -> None:
        if isinstance(message, Reply):
            asked[0].deliver(message)

    async with ControlBus(broker=broker, publisher=publisher, keys=[key], on_message=hear) as bus:
        asked.append(Requests(bus=bus, reply_to=key))
        yield asked[0]


def a_request() -> Request:
    """Return a request whose addresses are filled in later."""
    return Request(id="", reply_to="", verb=Verb.STATUS, sid=bytes(16))


async def test_one_worker_answers(broker: Broker, publisher: Publisher, cluster: ClusterTopology, requests: Requests) -> None:
    """A request to a worker's key brings that worker's reply."""
    worker = Worker(broker, publisher, cluster.cluster)
    async with worker.bus:
        await worker.bus.wait_ready(5)

        reply = await requests.ask(worker.key, a_request())

    assert reply.worker == worker.name


async def test_request_to_nobody_is_unroutable(cluster: ClusterTopology, requests: Requests) -> None:
    """A request to a worker that is gone fails at once, not after the time to reply."""
    with pytest.raises(UnroutableError):
        await requests.ask(worker_key(cluster.cluster, "gone"), a_request(), within=30)


async def test_silent_worker_is_told_apart(broker: Broker, publisher: Publisher, cluster: ClusterTopology, requests: Requests) -> None:
    """A request that was heard and not answered fails when the time is over, as something that may have been carried out."""
    worker = Worker(broker, publisher, cluster.cluster, silent=True)
    async with worker.bus:
        await worker.bus.wait_ready(5)

        with pytest.raises(NoReplyError):
            await requests.ask(worker.key, a_request(), within=0.3)


async def test_all_workers_answer(broker: Broker, publisher: Publisher, cluster: ClusterTopology, requests: Requests) -> None:
    """A request to a cluster returns as soon as all expected workers have answered, or with those that did when time is over."""
    first, second, silent = (Worker(broker, publisher, cluster.cluster, silent=silent) for silent in (False, False, True))
    async with first.bus, second.bus, silent.bus:
        for worker in (first, second, silent):
            await worker.bus.wait_ready(5)

        both = await requests.ask_all(cluster_key(cluster.cluster), a_request(), expect=2, within=30)
        those = await requests.ask_all(cluster_key(cluster.cluster), a_request(), expect=3, within=0.5)

    assert {reply.worker for reply in both} == {reply.worker for reply in those} == {first.name, second.name}


async def test_broken_handler_does_not_end_the_bus(broker: Broker, publisher: Publisher, cluster: ClusterTopology) -> None:
    """A message that its handler fails on, or that cannot be read, is dropped and the next one is heard."""
    logs.configure("error")
    heard = list[ControlMessage]()

    def hear(message: ControlMessage) -> None:
        heard.append(message)
        if len(heard) == 1:
            raise ValueError("the handler is broken")

    key = worker_key(cluster.cluster, "fragile")
    async with ControlBus(broker=broker, publisher=publisher, keys=[key], on_message=hear) as bus:
        await bus.wait_ready(5)
        await publisher.publish(exchange="sw.control", key=key, body=b"\xc1")
        await bus.send(key, Doubt(sid=b"1"))
        await bus.send(key, Doubt(sid=b"2"))

        await eventually(lambda: heard == [Doubt(sid=b"1"), Doubt(sid=b"2")], within=5)
