"""The load balancer's configuration spreads connections over ready gateways and spares those that drain."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry

from runtime.status import Readiness, StatusServer
from tests.support.eventually import eventually

CONFIG = Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="no program named haproxy is installed")


class FakeGateway:
    """Answers each TLS connection with its name, and is ready until told otherwise."""

    def __init__(self, *, name: str, tls: ssl.SSLContext) -> None:
        self._name = name
        self._tls = tls
        self._ready = True
        self.port = 0
        self.status_port = 0

    def drain(self) -> None:
        """Say on the status port that no new connections are wanted."""
        self._ready = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeGateway]:
        """Listen inside the block."""
        async with (
            await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls) as server,
            StatusServer(host="127.0.0.1", port=0, registry=CollectorRegistry(), readiness=self._readiness) as status,
        ):
            self.port, self.status_port = server.sockets[0].getsockname()[1], status.port
            yield self

    async def _readiness(self) -> Readiness:
        return Readiness(ready=self._ready)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._name.encode() + b"\n")
        writer.close()
        await writer.wait_closed()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _haproxy(front: int, gateways: tuple[FakeGateway, FakeGateway], folder: Path) -> Iterator[None]:
    first, second = gateways
    environment = os.environ | {
        "SLUICEWAY_FRONT": f"127.0.0.1:{front}",
        "SLUICEWAY_ADMIN": str(folder / "admin.sock"),
        "GATEWAY_1": f"127.0.0.1:{first.port}",
        "GATEWAY_1_STATUS": f"127.0.0.1:{first.status_port}",
        "GATEWAY_2": f"127.0.0.1:{second.port}",
        "GATEWAY_2_STATUS": f"127.0.0.1:{second.status_port}",
    }
    with (folder / "log").open("wb") as log, subprocess.Popen([str(HAPROXY), "-db", "-f", str(CONFIG)], env=environment, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


async def _who_answers(port: int, tls: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="grids.example")
    try:
        return (await reader.read()).decode().strip()
    finally:
        writer.close()
        # A peer that was quicker to close is no matter here.
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def _answering(port: int, tls: ssl.SSLContext) -> set[str]:
    try:
        return {await _who_answers(port, tls) for _ in range(8)}
    except (ConnectionError, ssl.SSLError):
        return set()


async def test_drained_gateways_get_no_new_connections(tmp_path: Path) -> None:
    """Both gateways answer through the front with their own certificate; after one says it drains, only the other does."""
    authority = trustme.CA()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("grids.example").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    front = _free_port()

    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(FakeGateway(name=name, tls=server_tls).serving()) for name in ("one", "two")]
        stack.enter_context(_haproxy(front, (one, two), tmp_path))

        async def both() -> bool:
            return await _answering(front, client_tls) == {"one", "two"}

        async def only_two() -> bool:
            return await _answering(front, client_tls) == {"two"}

        await eventually(both, within=15)
        one.drain()
        await eventually(only_two, within=15)


def test_the_configuration_is_valid_as_shipped() -> None:
    """HAProxy itself accepts the file with the addresses that stand in it, without a warning."""
    result = subprocess.run([str(HAPROXY), "-c", "-f", str(CONFIG)], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
