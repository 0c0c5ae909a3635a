"""A logical call survives what networks and gateways do to it; a fake gateway breaks on request."""

from __future__ import annotations

import dataclasses
import random
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from sluiceway import (
    AsyncGateway,
    AuthenticationError,
    CertificateError,
    CredentialsError,
    GatewayOptions,
    GatewayUnreachableError,
    InvalidRequestError,
    ProtocolError,
    RetryPolicy,
    SessionClosedError,
    SluicewayError,
    UnavailableError,
)
from sluiceway.http.addresses import Addresses
from sluiceway.http.retries import backoff, may_retry, retry_after
from tests.client.fake_gateway import FakeGateway, cut, lose_answer, refuse


async def test_a_refused_connection_goes_to_the_next_gateway(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """When the gateway in use is dead, the call is answered by another, and later calls stay there."""
    await fakes[0].stop()
    assert [one.name for one in await gateway.grids()] == ["FAKE"]
    assert gateway.address == fakes[1].url
    await gateway.grids()
    assert len(fakes[1].seen) == 2


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """A connection that breaks in the middle of the answer is repeated elsewhere under the same Idempotency-Key, and makes one session."""
    connection = await gateway.connect(application="Echo")
    fakes[0].faults = [("/sessions", lose_answer)]
    session = await connection.create_session()
    keys = [one.key for fake in fakes for one in fake.paths("/c1/sessions")]
    assert keys == [keys[0]] * 2
    assert len(fakes[0].grid.sessions) == 1
    await session.close()


async def test_each_logical_call_has_a_key_of_its_own(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """Two calls never share an Idempotency-Key, and a GET has none."""
    await gateway.connect(application="Echo")
    await gateway.connect(application="Echo")
    await gateway.grids()
    keys = [one.key for one in fakes[0].seen]
    assert keys[2] == ""
    assert len(set(keys)) == 3


async def test_429_waits_as_long_as_it_is_told(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """A full quota is asked again at the same gateway, not before Retry-After has passed."""
    fakes[0].faults = [("grids", refuse("too-many-requests", retry_after="1"))]
    started = time.monotonic()
    await gateway.grids()
    assert time.monotonic() - started >= 1.0
    assert len(fakes[0].seen) == 2
    assert not fakes[1].seen


async def test_a_draining_gateway_is_left_at_once(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """A 503 that says something about one gateway only is answered by another without a pause."""
    fakes[0].faults = [("grids", refuse("draining", retry_after="4"))]
    started = time.monotonic()
    await gateway.grids()
    assert time.monotonic() - started < 1.0
    assert len(fakes[1].seen) == 1


async def test_503_for_a_grid_is_repeated(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """A grid without a free lane is asked again until it has one."""
    fakes[0].faults = [("grids", refuse("no-free-lane"))] * 3
    await gateway.grids()
    assert len(fakes[0].seen) == 4


async def test_patience_ends_at_the_deadline(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """When the next pause would pass the deadline, the last refusal is raised with its code, and no longer waited for."""
    fakes[0].faults = [("grids", refuse("grid-unavailable", retry_after="60"))]
    async with AsyncGateway(fakes[0].url, options=fast) as gateway:
        with pytest.raises(UnavailableError, match=r"503 grid-unavailable: on request \(request r-1\)") as caught:
            await gateway.grids()
    assert (caught.value.code, caught.value.status, caught.value.request_id, caught.value.retry_after) == ("grid-unavailable", 503, "r-1", 60.0)


@pytest.mark.parametrize(
    ("code", "error"),
    [("invalid-attribute", InvalidRequestError), ("session-closed", SessionClosedError), ("body-too-large", InvalidRequestError)],
)
async def test_other_4xx_are_not_repeated(fakes: list[FakeGateway], gateway: AsyncGateway, code: str, error: type[Exception]) -> None:
    """A request that is wrong is sent once."""
    fakes[0].faults = [("grids", refuse(code))]
    with pytest.raises(error):
        await gateway.grids()
    assert len(fakes[0].seen) == 1


async def test_nobody_there(fast: GatewayOptions) -> None:
    """Without any gateway the call ends at its deadline with one clear error."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        options = dataclasses.replace(fast, retries=dataclasses.replace(fast.retries, deadline=0.3))
        async with AsyncGateway(f"http://127.0.0.1:{port}", options=options) as gateway:
            with pytest.raises(GatewayUnreachableError, match="no gateway answered"):
                await gateway.grids()


async def test_a_gateway_that_comes_back_is_used_again(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """A gateway that was bad serves again when the others fail."""
    await fakes[0].stop()
    await gateway.grids()
    port = int(fakes[0].url.rsplit(":", 1)[1])
    await fakes[0].start(port)
    await fakes[1].stop()
    await gateway.grids()
    assert gateway.address == fakes[0].url


async def test_a_cut_connection_is_repeated(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """With one gateway only, a broken connection is tried again there after a short pause."""
    fakes[0].faults = [("grids", cut), ("grids", cut)]
    async with AsyncGateway(fakes[0].url, options=fast) as gateway:
        await gateway.grids()
    assert len(fakes[0].seen) == 3


async def test_the_token_file_is_read_anew_once(fakes: list[FakeGateway], fast: GatewayOptions, tmp_path: Path) -> None:
    """A refused token is read again from its file; when that is refused too, the error reaches the caller."""
    file = tmp_path / "token"
    file.write_text("old\n")
    fakes[0].tokens = {"old"}
    async with AsyncGateway(fakes[0].url, token_file=file, options=fast) as gateway:
        await gateway.grids()
        fakes[0].tokens = {"new"}
        file.write_text("new\n")
        await gateway.grids()
        assert len(fakes[0].seen) == 3
        fakes[0].tokens = {"another"}
        with pytest.raises(AuthenticationError):
            await gateway.grids()
    assert len(fakes[0].seen) == 5


async def test_a_token_from_a_command(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """The first line that a command prints is the token, and a failing command is named without what it printed."""
    fakes[0].tokens = {"abc.def"}
    options = dataclasses.replace(fast, token_command=["printf", "abc.def\n"])
    async with AsyncGateway(fakes[0].url, options=options) as gateway:
        await gateway.grids()
    async with AsyncGateway(fakes[0].url, options=dataclasses.replace(fast, token_command="false")) as gateway:
        with pytest.raises(CredentialsError, match="ended with code 1"):
            await gateway.grids()


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe"])
async def test_what_is_no_token_never_leaves(fakes: list[FakeGateway], fast: GatewayOptions, tmp_path: Path, content: bytes) -> None:
    """A token file with anything but one word is refused before a request is made, and is not quoted."""
    file = tmp_path / "token"
    file.write_bytes(content)
    async with AsyncGateway(fakes[0].url, token_file=file, options=fast) as gateway:
        with pytest.raises(CredentialsError) as caught:
            await gateway.grids()
    assert not fakes[0].seen
    assert "two words" not in str(caught.value)


async def test_every_request_tells_versions(fakes: list[FakeGateway], gateway: AsyncGateway) -> None:
    """The version of the interface and of the client are in every request."""
    await gateway.grids()
    assert fakes[0].seen[0].headers["Sluiceway-Version"] == "1"
    assert fakes[0].seen[0].headers["User-Agent"].startswith("sluiceway-python/")


async def _plain(status: int, **headers: str) -> tuple[web.AppRunner, str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>a proxy's own page</html>", headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.mark.parametrize(("status", "error"), [(200, ProtocolError), (302, ProtocolError), (403, Exception)])
async def test_what_is_no_gateway_is_said_to_be_none(fast: GatewayOptions, status: int, error: type[Exception]) -> None:
    """A log-on page, a redirection or a proxy's error page end in an error of this package, not in a wrong result."""
    runner, url = await _plain(status, Location="https://elsewhere.example/")
    try:
        async with AsyncGateway(url, options=fast) as gateway:
            with pytest.raises(error):
                await gateway.grids()
    finally:
        await runner.cleanup()


async def test_tls_is_verified(fast: GatewayOptions, tmp_path: Path) -> None:
    """A gateway with a certificate of another authority is refused at once; with the right CA file and a client certificate it is used."""
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    own = authority.issue_cert("client@example.org")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"\x81\xa5grids\x90", content_type="application/msgpack")

    app = web.Application()
    app.router.add_get("/v1/grids", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}"
    try:
        async with AsyncGateway(url, ca_file=tmp_path / "other.pem", options=fast) as gateway:
            with pytest.raises(CertificateError):
                await gateway.grids()
        options = dataclasses.replace(fast, client_certificate=tmp_path / "client.pem")
        async with AsyncGateway(url, ca_file=tmp_path / "ca.pem", options=options) as gateway:
            assert await gateway.grids() == ()
    finally:
        await runner.cleanup()


async def test_a_proxy_is_asked_to_connect(fast: GatewayOptions) -> None:
    """With a proxy named, the gateway is reached through its CONNECT, and a refusing proxy is named as such."""
    asked: list[str] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.raw_path}")
        return web.Response(status=407)

    runner = web.ServerRunner(web.Server(proxy))  # a bare handler, so that CONNECT is seen
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    options = dataclasses.replace(fast, proxy=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with AsyncGateway("https://gateway.example:8443", options=options) as gateway:
            with pytest.raises(CredentialsError, match="proxy"):
                await gateway.grids()
    finally:
        await runner.cleanup()
    assert asked == ["CONNECT gateway.example:8443"]


@pytest.mark.parametrize("url", ["http://gateway.example", "ftp://x", "https://user@gateway.example", "gateway.example:8443", ""])
def test_unsafe_addresses_are_refused(url: str) -> None:
    """Only https is spoken, and plain http to this machine alone."""
    with pytest.raises(ValueError, match=r"gateway|https"):
        AsyncGateway([url])


def test_retry_after_in_both_forms() -> None:
    """Retry-After is read as seconds and as a date, and nonsense counts as absent (RFC 9110, 10.2.3)."""
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    assert retry_after({"Retry-After": "7"}) == 7.0
    assert retry_after({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT"}, now) == 30.0
    assert retry_after({"Retry-After": "Sat, 21 Nov 2026 11:00:00 GMT"}, now) == 0.0
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


def test_pauses_grow_within_bounds() -> None:
    """Pauses double up to the longest, and jitter never makes one zero or longer."""
    policy, chance = RetryPolicy(first_pause=0.1, longest_pause=2.0), random.Random(1)  # noqa: S311 - a seed, so that the test is the same every time
    for failures in range(30):
        ceiling = min(2.0, 0.1 * 2**failures)
        assert ceiling / 10 <= backoff(policy, failures, chance) <= ceiling


def test_what_may_be_repeated() -> None:
    """Status and code decide: never a plain 4xx, a gateway's own failure only twice."""
    assert not may_retry(400, "invalid-attribute", 1)
    assert not may_retry(409, "session-closed", 1)
    assert may_retry(429, "quota-exceeded", 50)
    assert may_retry(500, "internal-error", 2)
    assert not may_retry(500, "internal-error", 3)
    assert may_retry(408, "request-timeout", 1)


def test_calls_that_break_together_count_once() -> None:
    """Sixty-four requests that lose the same gateway keep clients away from it for one short pause, not for the longest."""
    clock = [100.0]
    policy = RetryPolicy(first_pause=0.1, longest_pause=60.0)
    addresses = Addresses(["https://a", "https://b"], policy=policy, chance=random.Random(2), clock=lambda: clock[0], spread=False)  # noqa: S311 - a seed
    clock[0] = 101.0
    for _ in range(64):
        addresses.failed("https://a", started=100.5)
    assert addresses.pick().url == "https://b"
    addresses.failed("https://b", started=100.5)
    assert 0 < addresses.pick().wait <= 0.2


async def test_a_closed_client_refuses_at_once(fakes: list[FakeGateway], fast: GatewayOptions) -> None:
    """Outside of its block a client raises, and does not go on trying."""
    gateway = AsyncGateway(fakes[0].url, options=fast)
    with pytest.raises(SluicewayError, match="closed"):
        await gateway.grids()
    assert not fakes[0].seen
