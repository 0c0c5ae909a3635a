"""What the gateway's tests share: a running gateway on a cluster of its own, its scripted owner, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.link import Broker
from broker.publishing import Publisher
from gateway.main import RunningGateway
from runtime.logs import configure
from runtime.settings import BrokerSettings
from schemas.topology import ClusterTopology
from tests.support.gatewaystand import Client, Stand, make_stand
from tests.support.rabbit import MakeCluster
from tests.support.scriptedowner import ScriptedOwner


@pytest.fixture(autouse=True)
def _plain_logs(logging_as_before: None) -> None:  # noqa: ARG001 - asked for its order
    """Log as in production: pictures of tracebacks read source files, which blocks the event loop."""
    configure("warning", "json")


@pytest.fixture
async def topology(make_cluster: MakeCluster) -> ClusterTopology:
    """A fresh cluster of three lanes."""
    return await make_cluster(lanes=3)


@pytest.fixture
def stand(tmp_path: Path, broker_settings: BrokerSettings, topology: ClusterTopology) -> Stand:
    """The files of this test's gateways."""
    return make_stand(tmp_path, broker_settings, topology.cluster)


@pytest.fixture
def secret(stand: Stand) -> str:
    """The secret of a token for every grid."""
    return stand.token("tester")


@pytest.fixture
async def owner(broker: Broker, publisher: Publisher, topology: ClusterTopology) -> AsyncIterator[ScriptedOwner]:
    """The cluster's only worker."""
    async with ScriptedOwner(broker=broker, publisher=publisher, cluster=topology.cluster) as owner:
        yield owner


@pytest.fixture
async def running(stand: Stand, secret: str) -> AsyncIterator[RunningGateway]:
    """A gateway."""
    assert secret
    async with stand.gateway() as running:
        await running.parts.broker.wait_ready(10)
        await running.parts.owners.bus.wait_ready(10)
        yield running


@pytest.fixture
async def client(stand: Stand, running: RunningGateway, secret: str) -> AsyncIterator[Client]:
    """A client with a good token."""
    async with stand.client(running, secret) as client:
        yield client
