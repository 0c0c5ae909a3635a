"""A whole running stack for the acceptance tests, and callers that speak to its gateways."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from typing_extensions import override

from runtime.settings import BrokerSettings
from sluiceway.stack import Application, Program, Stack, StackPlan
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client, Got

__all__ = ["GRID", "Caller", "amqp_url", "caller_of", "restored", "running_stack"]

GRID = "RNDBCARDI_PROD"
_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 60.0
_RETRY = {"name": "sturdy", "task_retry_limit": 3}
_ONCE = {"name": "once", "task_retry_limit": 0}
_RETURNED = {"name": "default"}


def _application(name: str, service: str, **fields: Any) -> Application:  # noqa: ANN401 - any field of Application
    types = [_RETURNED, _ONCE, _RETRY]
    return Application(name=name, service=f"tests.support.services:{service}", python_path=(_ROOT,), settings={"session_types": types}, **fields)


def amqp_url(broker: BrokerSettings) -> str:
    """Return the address of the test run's broker with its password inside, as ``AMQP_URL`` has it."""
    parts = urlsplit(broker.urls[0])
    password = broker.password_file.read_text(encoding="utf-8").strip() if broker.password_file else "guest"
    return parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}").geturl()


@contextmanager
def running_stack(directory: Path, *, broker: str | None, grid: str = GRID, lanes: int = 32, bridges: int = 2) -> Iterator[Stack]:
    """Run two gateways and some bridges, on the given broker or on a private node of the stack's own; all is stopped by process id.

    Args:
        directory: Where all files lie.
        broker: An AMQP address; None starts a node.
        grid: The name of grid and cluster.
        lanes: How many sessions can be open at once.
        bridges: How many bridge workers.
    """
    applications = (
        Application(name="ping", service="examples.ping.service:Ping"),
        _application("echo", "Echo"),
        _application("orders", "Orders", processes=2, invoke_timeout=60.0),
        _application("impatient", "Orders", invoke_timeout=0.5),
    )
    plan = StackPlan(directory=directory, grid=grid, applications=applications, bridges=bridges, lanes=lanes, ack_delay=2.0, amqp_url=broker)
    with Stack(plan) as stack:
        yield stack


@contextmanager
def restored(stack: Stack, *names: str) -> Iterator[list[Program]]:
    """Yield processes that a test may kill or stop; afterwards they run again."""
    programs = [stack.find(name) for name in names]
    try:
        yield programs
    finally:
        for program in programs:
            program.start()
        for program in programs:
            program.wait_ready(_READY_SECONDS)


class Caller(Client):
    """A client of one gateway that names sessions of any application, and closes at the end what it has opened."""

    def __init__(self, *, session: aiohttp.ClientSession, base: str, secret: str) -> None:
        super().__init__(session=session, base=base, secret=secret)
        self.opened: list[str] = []

    @override
    def key(self) -> str:
        return secrets.token_hex(8)

    async def start(self, application: str = "echo", **attributes: Any) -> str:  # noqa: ANN401 - attributes of any kind
        """Open a session of an application and return its id."""
        got = await self.create(await self.connect(applicationName=application), **attributes)
        assert got.status == 201, got.body
        self.opened.append(str(got.json["sessionId"]))
        return self.opened[-1]

    async def describe(self, session: str) -> Any:  # noqa: ANN401 - JSON is anything
        """Return a session's description."""
        got = await self.ask("GET", f"/v1/sessions/{session}")
        assert got.status == 200, got.body
        return got.json

    async def run(self, session: str, *payloads: bytes, **fields: Any) -> list[Any]:  # noqa: ANN401 - any field of a task
        """Submit inputs and return their outputs in the order of the submission."""
        got = await self.submit(session, *payloads, **fields)
        assert got.status == 202, got.body
        ids = [task["taskId"] for task in got.json["tasks"]]
        found = {output["taskId"]: output for output in await self.fetch_all(session, len(ids))}
        return [found[one] for one in ids]

    async def close(self, session: str) -> None:
        """Close a session; patient, for its owner may just have been killed."""

        async def closed() -> bool:
            got = await self.ask("POST", f"/v1/sessions/{session}/close", headers={"Content-Length": "0"})
            assert got.status in {204, 503}, got.body
            return got.status == 204

        await eventually(closed, within=30)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Got:
        """Send a GET."""
        return await self.ask("GET", path, headers=headers)


@asynccontextmanager
async def caller_of(stack: Stack, gateway: int) -> AsyncIterator[Caller]:
    """Yield a caller of one of the stack's gateways, counted from 0."""
    context = ssl.create_default_context(cafile=str(stack.ca_file))
    secret = stack.token_file.read_text(encoding="utf-8").strip()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as session:
        caller = Caller(session=session, base=stack.urls[gateway], secret=secret)
        try:
            yield caller
        finally:
            for one in caller.opened:
                await caller.close(one)
