"""A gateway as a process: it starts, says that it is ready, drains on SIGTERM, and refuses configurations that it cannot use."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.gatewaystand import GRID, Client, Stand

pytestmark = [pytest.mark.broker, pytest.mark.processes]


class Process:
    """A gateway process and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, object]) -> None:
        self.process = process
        self.port = int(str(ready["port"]))
        self.status_port = int(str(ready["status_port"]))

    async def events(self) -> list[str]:
        """Read the events of the rest of the log."""
        assert self.process.stdout is not None
        rest = await asyncio.wait_for(self.process.stdout.read(), 20)
        return [json.loads(line)["event"] for line in rest.splitlines()]


def _write_config(stand: Stand, topology: ClusterTopology, **limits: float) -> Path:
    settings = stand.settings()
    lines = [
        'name = "g1"',
        f'[listen]\nport = 0\ncertificate_file = "{settings.listen.certificate_file}"\nkey_file = "{settings.listen.key_file}"',
        "[status]\nport = 0",
        f'[broker]\nurls = ["{settings.broker.urls[0]}"]\npassword_file = "{settings.broker.password_file}"',
        f'[keys]\nring_file = "{settings.keys.ring_file}"',
        f'[tokens]\nfile = "{stand.tokens}"',
        f'[audit]\nfile = "{stand.audit}"',
        "[limits]\n" + "\n".join(f"{name} = {value}" for name, value in limits.items()),
        f'[[grids]]\nname = "{GRID}"\nclusters = ["{topology.cluster}"]\napplications = ["echo"]',
    ]
    path = stand.folder / "gateway.toml"
    path.write_text("\n".join(lines))
    return path


@asynccontextmanager
async def _started(config: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", "--config", str(config), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        while True:
            line = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
            if line["event"] == "gateway ready":
                break
        yield Process(process, line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.usefixtures("owner")
async def test_sigterm_drains(stand: Stand, secret: str, topology: ClusterTopology) -> None:
    """A waiting poll is answered early, readyz says 503, no request is cut off, the exit code is 0, and the audit trail is whole."""
    config = await asyncio.to_thread(_write_config, stand, topology, notice_seconds=0.5)
    async with _started(config) as gateway, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=stand.context)) as http:
        client = Client(session=http, base=f"https://localhost:{gateway.port}", secret=secret)
        status = f"http://127.0.0.1:{gateway.status_port}"
        await eventually(lambda: _is(http, f"{status}/readyz", 200), within=10)
        session = await client.session()
        polling = asyncio.create_task(client.fetch(session, wait=30))
        await eventually(lambda: _metric(http, status, "sluiceway_requests_under_way", 1), within=5)
        gateway.process.send_signal(signal.SIGTERM)
        await eventually(lambda: _is(http, f"{status}/readyz", 503), within=2)
        got = await asyncio.wait_for(polling, 5)
        assert (got.status, got.json["outputs"]) == (200, [])
        assert await asyncio.wait_for(gateway.process.wait(), 10) == 0
        assert (await gateway.events())[-2:] == ["gateway drains", "gateway stopped"]
    lines = [msgspec.json.decode(line) for line in (await asyncio.to_thread(stand.audit.read_bytes)).splitlines()]
    assert [line["action"] for line in lines] == ["connect", "createSession", "fetchTaskOutput"]
    assert {line["login"] for line in lines} == {"token|tester"}
    assert lines[1]["created"] == f"/v1/sessions/{session}"


async def test_metrics_count_requests(stand: Stand, secret: str, topology: ClusterTopology) -> None:
    """By operation and status, with their durations."""
    config = await asyncio.to_thread(_write_config, stand, topology, notice_seconds=0)
    async with _started(config) as gateway, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=stand.context)) as http:
        client = Client(session=http, base=f"https://localhost:{gateway.port}", secret=secret)
        await client.ask("GET", "/v1/grids")
        await client.ask("GET", "/v1/sessions/x")
        status = f"http://127.0.0.1:{gateway.status_port}"
        assert await _metric(http, status, 'sluiceway_requests_total{operation="listGrids",status="200"}', 1)
        assert await _metric(http, status, 'sluiceway_requests_total{operation="getSession",status="404"}', 1)
        assert await _metric(http, status, 'sluiceway_request_seconds_count{operation="listGrids"}', 1)


async def _is(http: aiohttp.ClientSession, url: str, status: int) -> bool:
    async with http.get(url) as response:
        return response.status == status


async def _metric(http: aiohttp.ClientSession, status: str, name: str, value: float) -> bool:
    async with http.get(f"{status}/metrics") as response:
        lines = (await response.text()).splitlines()
    return any(line.startswith(f"{name} ") and float(line.rpartition(" ")[2]) == value for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("port = 0", "prot = 0"), "prot"),
        (("keys.json", "missing.json"), "missing.json"),
        (("tokens.json", "missing.json"), "missing.json"),
        (("audit.jsonl", "no/such/folder"), "no/such/folder"),
    ],
    ids=["unknown key", "no key ring", "no tokens", "no audit trail"],
)
async def test_an_unusable_configuration_ends_with_one_sentence(
    stand: Stand, secret: str, topology: ClusterTopology, change: tuple[str, str], message: str
) -> None:
    """A misspelt key, a missing key ring, token file or audit folder: exit code 2 and a text that names it, no traceback."""
    assert secret
    config = await asyncio.to_thread(_write_config, stand, topology)
    await asyncio.to_thread(config.write_text, (await asyncio.to_thread(config.read_text)).replace(*change, 1))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "--config", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert message in err.decode()
    assert b"Traceback" not in err
