"""The broker that tests use: a private RabbitMQ node, the one that ``AMQP_URL`` names, or a container where Docker answers."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

import pytest
import pytest_asyncio

from broker.declaring import declare
from broker.link import Broker
from broker.node import NodeMissingError, PrivateNode
from broker.publishing import Publisher
from runtime.secretfiles import write_secret
from runtime.settings import BrokerSettings
from schemas.topology import ClusterTopology, LaneLimits

__all__ = ["MakeCluster"]

MakeCluster: TypeAlias = Callable[..., Awaitable[ClusterTopology]]


def _settings_of(url: str, folder: Path) -> BrokerSettings:
    """Split an address with a password into an address and a password file."""
    parts = urlsplit(url)
    password_file = folder / "password"
    write_secret(password_file, unquote(parts.password or "guest").encode(), replace=True)
    host = parts.netloc.rpartition("@")[2]
    return BrokerSettings(urls=(urlunsplit(parts._replace(netloc=f"{parts.username or 'guest'}@{host}")),), password_file=password_file)


@asynccontextmanager
async def _container(folder: Path) -> AsyncIterator[BrokerSettings]:
    from testcontainers.rabbitmq import RabbitMqContainer  # noqa: PLC0415 - only where nothing else serves

    container = RabbitMqContainer("rabbitmq:4")
    try:
        await asyncio.to_thread(container.start)
    except Exception as exc:  # noqa: BLE001 - Docker's absence has many faces
        pytest.fail(f"{NodeMissingError()} (Docker does not answer either: {exc})"[:500])
    try:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
        yield _settings_of(f"amqp://guest:guest@{host}:{port}/", folder)
    finally:
        await asyncio.to_thread(container.stop)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker_settings(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BrokerSettings]:
    """How to reach the broker of this test run."""
    folder = tmp_path_factory.mktemp("rabbit")
    if url := os.environ.get("AMQP_URL"):
        yield _settings_of(url, folder)
        return
    try:
        async with PrivateNode(directory=folder) as node:
            yield node.broker_settings
    except NodeMissingError:
        async with _container(folder) as settings:
            yield settings


@pytest.fixture
async def broker(broker_settings: BrokerSettings) -> AsyncIterator[Broker]:
    """Two connections to the broker of this test run."""
    async with Broker(settings=broker_settings, name="tests") as broker:
        await broker.wait_ready(10)
        yield broker


@pytest.fixture
async def publisher(broker: Broker) -> AsyncIterator[Publisher]:
    """A publisher on the broker of this test run."""
    async with Publisher(link=broker.publishing) as publisher:
        yield publisher


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(request: pytest.FixtureRequest, broker_settings: BrokerSettings) -> ClusterTopology:
    """A set-up cluster of four small lanes that only this test module uses."""
    name = re.sub(r"\W", "_", request.module.__name__.rpartition(".")[2])
    return await _declare(broker_settings, f"{name[-40:]}-{secrets.token_hex(3)}", lanes=4)


@pytest.fixture
def make_cluster(broker_settings: BrokerSettings) -> MakeCluster:
    """A function that sets up one more cluster of the given size, for one test."""

    async def make(*, lanes: int = 1, input_bytes: int = 16 << 20, output_quota: int = 16 << 20) -> ClusterTopology:
        return await _declare(broker_settings, f"test-{secrets.token_hex(4)}", lanes, input_bytes, output_quota)

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateNode]:
    """A node that this test module may hurt; each test leaves it running and well."""
    try:
        async with PrivateNode(directory=tmp_path_factory.mktemp("own-node")) as node:
            yield node
    except NodeMissingError as exc:
        pytest.skip(str(exc))


@pytest.fixture
async def own_broker(own_node: PrivateNode) -> AsyncIterator[Broker]:
    """Two connections to the module's own node."""
    async with Broker(settings=own_node.broker_settings, name="tests") as broker:
        await broker.wait_ready(10)
        yield broker


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_cluster(own_node: PrivateNode) -> ClusterTopology:
    """A set-up cluster on the module's own node."""
    return await _declare(own_node.broker_settings, "own", lanes=2)


async def _declare(settings: BrokerSettings, name: str, lanes: int, input_bytes: int = 16 << 20, output_quota: int = 16 << 20) -> ClusterTopology:
    topology = ClusterTopology(cluster=name, lanes=lanes, limits=LaneLimits(input_bytes=input_bytes, output_quota=output_quota))
    async with Broker(settings=settings, name="test set-up") as broker:
        await broker.wait_ready(10)
        await declare(broker, topology)
    return topology
