"""The status listener answers liveness, readiness and metrics, whatever the state of the process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette

from runtime.listener import Listener, ListenError, bind
from runtime.metrics import process_registry
from runtime.status import Readiness, StatusServer


async def _get(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as client, client.request(method, f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, answer.content_type, await answer.text()


def _server(readiness: Callable[[], Awaitable[Readiness]], registry: CollectorRegistry | None = None) -> StatusServer:
    return StatusServer(host="127.0.0.1", port=0, registry=registry or CollectorRegistry(), readiness=readiness)


async def _never() -> Readiness:
    await asyncio.Event().wait()
    return Readiness(ready=True)


async def _no() -> Readiness:
    return Readiness(ready=False, problems=("broker away",))


async def _yes() -> Readiness:
    return Readiness(ready=True)


async def test_ready_when_all_is_well() -> None:
    """A process that may be sent work says so with 200."""
    async with _server(_yes) as server:
        assert await _get(server.port, "/readyz") == (200, "application/json", '{"ready":true,"problems":[]}')


async def test_not_ready_says_why_but_stays_alive() -> None:
    """A process whose broker is away answers 503 with the reason to /readyz, and 200 to /livez: restarting it would not help."""
    async with _server(_no) as server:
        assert await _get(server.port, "/readyz") == (503, "application/json", '{"ready":false,"problems":["broker away"]}')
        assert await _get(server.port, "/livez") == (200, "application/json", '{"alive":true}')


async def test_a_hanging_check_is_not_ready() -> None:
    """A readiness check that does not answer counts as not ready within a load balancer's patience."""
    async with asyncio.timeout(5), _server(_never) as server:
        status, _, text = await _get(server.port, "/readyz")

    assert status == 503
    assert "took longer than 2 s" in text


async def test_metrics_are_this_process_own() -> None:
    """/metrics shows the registry handed in, with memory and the process' role, and nothing of the library's global one."""
    registry = process_registry(role="gateway", name="g1")
    Counter("sluiceway_tasks", "Tasks.", registry=registry).inc(3)

    async with _server(_yes, registry) as server:
        status, kind, text = await _get(server.port, "/metrics")

    assert (status, kind) == (200, "text/plain")
    assert "sluiceway_tasks_total 3.0" in text
    assert "process_resident_memory_bytes" in text
    assert 'sluiceway_process_info{name="g1",role="gateway"} 1.0' in text


async def test_nothing_else_is_answered() -> None:
    """Other paths are 404 and other methods 405: the status port is no way in."""
    async with _server(_yes) as server:
        assert (await _get(server.port, "/v1/grids"))[0] == 404
        assert (await _get(server.port, "/livez", "POST"))[0] == 405


async def test_two_servers_in_one_process() -> None:
    """Each server has its own port, and the port is free again after the block."""
    async with _server(_yes) as one, _server(_no) as two:
        assert [(await _get(server.port, "/readyz"))[0] for server in (one, two)] == [200, 503]

    async with StatusServer(host="127.0.0.1", port=one.port, registry=CollectorRegistry(), readiness=_yes):
        pass


def test_a_taken_port_is_named() -> None:
    """A port that is taken ends in a sentence with address and reason."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port)


async def test_an_application_that_refuses_to_start_does_not_end_the_process() -> None:
    """A failed lifespan is an error of the listener, not an exit of the program."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not app.routes:
            raise RuntimeError("no")
        yield

    config = uvicorn.Config(Starlette(lifespan=lifespan), log_config=None, lifespan="on")

    with pytest.raises(ListenError, match="refused to start"):
        async with Listener(config=config, bound=bind("127.0.0.1", 0)):
            pytest.fail("the block was entered")


async def test_requests_under_way_are_answered_before_the_end() -> None:
    """The end of the block waits for a request that is being answered."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow() -> Readiness:
        entered.set()
        await release.wait()
        return Readiness(ready=True)

    server = _server(slow)
    async with server:
        request = asyncio.create_task(_get(server.port, "/readyz"))
        await entered.wait()
        asyncio.get_running_loop().call_later(0.1, release.set)

    assert (await request)[0] == 200
