"""What clients see while the broker is away: a refusal within five seconds, never a hang, and everything as before afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from broker.declaring import declare
from broker.link import Broker
from broker.node import PrivateNode
from broker.publishing import Publisher
from gateway.main import RunningGateway
from schemas.topology import ClusterTopology, LaneLimits
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client, Got, make_stand
from tests.support.scriptedowner import ScriptedOwner

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

CLUSTER = ClusterTopology(cluster="away", lanes=2, limits=LaneLimits(input_bytes=1 << 20, output_quota=1 << 20))


async def _within_five(ask: Callable[[], Awaitable[Got]]) -> Got:
    began = time.monotonic()
    got = await ask()
    assert time.monotonic() - began < 5.5
    assert (got.status, "Retry-After" in got.headers) == (503, True), got.body
    return got


async def _status(running: RunningGateway, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{running.status_port}{path}") as response:
        return response.status


async def test_a_broker_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Submitting, fetching, creating, asking and closing answer 503 in time; afterwards the same key and cursor go on."""
    async with PrivateNode(directory=tmp_path / "node") as node:
        stand = await asyncio.to_thread(make_stand, tmp_path, node.broker_settings, CLUSTER.cluster)
        secret = await asyncio.to_thread(stand.token, "tester")
        async with Broker(settings=node.broker_settings, name="set-up") as broker, Publisher(link=broker.publishing) as publisher:
            await broker.wait_ready(10)
            await declare(broker, CLUSTER)
            async with ScriptedOwner(broker=broker, publisher=publisher, cluster=CLUSTER.cluster), stand.gateway() as running:
                async with stand.client(running, secret) as client:
                    session = await client.session()
                    await client.submit(session, b"before")
                    cursor = (await client.fetch(session)).json["cursor"]
                connection = await _connection(stand.client(running, secret))
            # The worker is gone, so that only the gateway is judged from here on.
        async with stand.gateway() as running, stand.client(running, secret) as client:
            await running.parts.broker.wait_ready(10)
            assert await _status(running, "/readyz") in {200, 503}
            await client.fetch(session, after=cursor, wait=0)
            polling = asyncio.create_task(client.fetch(session, after=cursor, wait=30))
            await eventually(lambda: running.parts.readers.count > 0, within=5)
            await node.stop()
            await _all_refused(client, running, session, cursor, connection)
            assert (await asyncio.wait_for(polling, 12)).status == 503
            await node.start()

            async def stored() -> bool:
                return (await client.submit(session, b"after", key="k")).status == 202

            assert await eventually(stored, within=30)
            again = await client.fetch(session, after=cursor, wait=0)
            assert (again.status, again.json["outputs"]) == (200, [])


async def _connection(entering: object) -> str:
    async with entering as client:  # type: ignore[attr-defined]
        return str(await client.connect())


async def _all_refused(client: Client, running: RunningGateway, session: str, cursor: str, connection: str) -> None:
    path = f"/v1/sessions/{session}"
    await asyncio.gather(
        _within_five(lambda: client.submit(session, b"x")),
        _within_five(lambda: client.fetch(session, after=cursor, wait=20)),
        _within_five(lambda: client.fetch(session, wait=0)),
        _within_five(lambda: client.create(connection)),
        _within_five(lambda: client.ask("GET", path)),
        _within_five(lambda: client.ask("POST", f"{path}/suspend")),
        _within_five(lambda: client.ask("DELETE", path)),
        _within_five(lambda: client.ask("PUT", f"{path}/common-data", body={"commonData": ""})),
        _within_five(lambda: client.ask("GET", f"{path}/outputs/{'A' * 32}")),
    )
    assert await _status(running, "/readyz") == 503
    assert await _status(running, "/livez") == 200
    assert (await client.ask("GET", "/openapi.json")).status == 200
