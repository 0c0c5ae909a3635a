"""The bounds of one gateway: bodies, heads, slow clients, requests and bytes under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.admission import Admission
from gateway.main import RunningGateway
from gateway.problems import ProblemError
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client, Stand
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker

LIMIT = 100_000


@pytest.fixture
async def running(stand: Stand, secret: str) -> AsyncIterator[RunningGateway]:
    """A gateway with small limits."""
    assert secret
    async with stand.gateway(body_bytes=LIMIT, task_bytes=50_000, header_seconds=0.7, body_seconds=0.7, requests=20, in_flight_bytes=150_000) as running:
        await running.parts.broker.wait_ready(10)
        yield running


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield bytes(1000)


async def _raw(stand: Stand, running: RunningGateway, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes over a bare TLS connection and return everything that comes back until the gateway closes."""
    reader, writer = await asyncio.open_connection("localhost", running.port, ssl=stand.context)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_a_body_that_says_it_is_too_large_is_not_read(client: Client, owner: ScriptedOwner) -> None:
    """With Content-Length the refusal comes before the body."""
    session = await client.session()
    headers = {"Content-Type": "application/octet-stream"}
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=bytes(LIMIT + 1), headers=headers, key="k")
    assert (got.status, got.code) == (413, "body-too-large")
    assert (await client.ask("POST", f"/v1/sessions/{session}/tasks", data=b"x", headers=headers, key="k2")).status == 202
    assert owner.session.inputs == [b"x"]


async def test_a_body_that_turns_out_too_large_is_cut_off(client: Client, owner: ScriptedOwner) -> None:
    """Without Content-Length the gateway stops at its limit."""
    session = await client.session()
    headers = {"Content-Type": "application/octet-stream"}
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=_pieces(LIMIT + 2000), headers=headers, key="k")
    assert (got.status, got.code) == (413, "body-too-large")
    small = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=_pieces(3000), headers=headers, key="k2")
    assert small.status == 202
    await eventually(lambda: owner.session.inputs == [bytes(3000)], within=5)


async def test_expect_continue_is_answered_before_the_body(stand: Stand, running: RunningGateway, client: Client) -> None:
    """A client that asks first learns at once that its body is too large, and need not send it."""
    head = f"POST /v1/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.secret}\r\nIdempotency-Key: k\r\nContent-Length: 999999999\r\n"
    got = await _raw(stand, running, head.encode() + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413 ")


async def test_a_task_over_its_limit_fails_alone(client: Client, owner: ScriptedOwner) -> None:
    """One task input may be large, but not that large."""
    session = await client.session()
    headers = {"Content-Type": "application/octet-stream"}
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=bytes(50_001), headers=headers, key="k")
    assert (got.status, got.code) == (413, "task-too-large")
    assert owner.session.inputs == []


async def test_a_large_head_is_refused(stand: Stand, running: RunningGateway) -> None:
    """Headers and addresses beyond their bound are 431, before any credential is looked at."""
    for head in (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, b"GET /" + b"x" * 40_000, b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(101))):
        got = await _raw(stand, running, head + b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 431 ")
        assert b"header-too-large" in got


async def test_a_slow_head_ends_the_connection(stand: Stand, running: RunningGateway) -> None:
    """A client that sends its head byte by byte, or nothing at all, is not waited for."""
    for parts in ((b"GET / HTTP/1.1\r\n", b"X: y\r\n"), (b"",)):
        began = time.monotonic()
        got = await _raw(stand, running, *parts, pause=0.1)
        assert time.monotonic() - began < 5
        assert b"request-timeout" in got


async def test_a_slow_body_ends_the_request(stand: Stand, running: RunningGateway, client: Client) -> None:
    """A body that does not come in its time is 408, and the connection ends."""
    head = f"POST /v1/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.secret}\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\n"
    got = await _raw(stand, running, head.encode() + b"{")
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"request-timeout" in got


async def test_what_is_no_http_is_refused(stand: Stand, running: RunningGateway) -> None:
    """Noise gets a problem document and a closed connection."""
    for noise in (b"\x00\x01\x02\x03\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        got = await _raw(stand, running, noise)
        assert got.startswith(b"HTTP/1.1 400 ")


@pytest.mark.usefixtures("owner")
async def test_requests_beyond_the_bound_are_refused(client: Client) -> None:
    """Twenty polls may wait; the next request is told to come back."""
    session = await client.session()
    polls = [asyncio.create_task(client.fetch(session, wait=3)) for _ in range(20)]

    async def refused() -> bool:
        got = await client.ask("GET", "/v1/grids")
        return got.status == 503 and got.code == "overloaded" and "Retry-After" in got.headers

    await eventually(refused, within=2.5)
    assert all(got.status in {200, 503} for got in await asyncio.gather(*polls))
    assert (await client.ask("GET", "/v1/grids")).status == 200


def test_bytes_beyond_the_bound_are_refused_and_given_back() -> None:
    """What a request holds counts until it ends, however it ends."""
    admission = Admission(requests=2, in_flight_bytes=100)
    with admission.enter() as first:
        first.add(60)
        with pytest.raises(ProblemError, match="overloaded"), admission.enter() as second:
            second.add(60)
        assert admission.bytes == 60
    assert (admission.bytes, admission.requests) == (0, 0)


async def test_plain_http_and_old_tls_get_nowhere(running: RunningGateway) -> None:
    """The listener speaks TLS 1.2 and 1.3 only."""
    reader, writer = await asyncio.open_connection("localhost", running.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    for version, code in (("-tls1_1", 1), ("-tls1_2", 0), ("-tls1_3", 0)):
        process = await asyncio.create_subprocess_exec(
            "openssl",
            "s_client",
            version,
            "-cipher",
            "ALL@SECLEVEL=0",
            "-connect",
            f"localhost:{running.port}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == code, version
