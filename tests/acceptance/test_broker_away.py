"""Acceptance: a broker that hangs or dies costs 503 within seconds, and everything goes on when it is back. Has a stack and a node of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest
import pytest_asyncio

from broker.node import PrivateNode
from sluiceway.stack import Stack
from tests.support.eventually import eventually
from tests.support.gatewaystand import Got
from tests.support.services import order
from tests.support.stack import Caller, amqp_url, caller_of, running_stack

_ANSWER_SECONDS = 5.5
"""The promise is 5 s; the rest is the client's own way there and back on a busy machine."""


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory, own_node: PrivateNode) -> Iterator[Stack]:
    """A stack on the module's own node, which a test may hurt."""
    with running_stack(tmp_path_factory.mktemp("own-stack"), broker=amqp_url(own_node.broker_settings), lanes=4, bridges=1) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def caller(own_stack: Stack) -> AsyncIterator[Caller]:
    """A caller of that stack's first gateway."""
    async with caller_of(own_stack, 0) as caller:
        yield caller


@pytest_asyncio.fixture(loop_scope="session")
async def other(own_stack: Stack) -> AsyncIterator[Caller]:
    """A caller of its second gateway."""
    async with caller_of(own_stack, 1) as caller:
        yield caller


async def _submit(caller: Caller, session: str, number: int) -> Got:
    """Send the same submission at each call."""
    return await caller.submit(session, order("echo", text=str(number)), key=f"submission-{number}")


async def _refused_in_time(caller: Caller, other: Caller, session: str, connection: str, number: int) -> None:
    """Ask for what needs the broker, all at once: the other gateway has nothing of the session's journal in memory."""

    async def timed(what: str, asked: Awaitable[Got]) -> tuple[str, Got, float]:
        began = time.monotonic()
        return what, await asked, time.monotonic() - began

    answers = await asyncio.gather(
        timed("submit", _submit(caller, session, number)),
        timed("create", caller.create(connection)),
        timed("fetch", other.fetch(session, wait=2)),
        timed("describe", other.get(f"/v1/sessions/{session}")),
        timed("suspend", caller.ask("POST", f"/v1/sessions/{session}/suspend")),
    )
    for what, got, seconds in answers:
        assert got.status == 503, (what, got.body)
        assert int(got.headers["Retry-After"]) >= 1, what
        assert seconds < _ANSWER_SECONDS, (what, got.body)


async def _goes_on(caller: Caller, session: str, number: int) -> None:
    """The submission that was refused, of which nobody knows whether it was stored, is repeated and runs once; a new session can be opened."""

    async def accepted() -> bool:
        return (await _submit(caller, session, number)).status == 202

    await eventually(accepted, within=40)
    outputs = await caller.fetch_all(session, number)
    assert [base64.b64decode(output["output"]) for output in outputs] == [b"%d" % one for one in range(1, number + 1)]
    assert [output["sequence"] for output in outputs] == list(range(1, number + 1))

    async def opened() -> bool:
        got = await caller.create()
        if got.status == 201:
            caller.opened.append(str(got.json["sessionId"]))
        return got.status == 201

    await eventually(opened, within=40)


@pytest.mark.timeout(240)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_broker_that_hangs_and_one_that_is_killed(own_node: PrivateNode, caller: Caller, other: Caller) -> None:
    """While the broker hangs, and while it is dead, requests end with 503 in time; afterwards the same session goes on and lost nothing."""
    connection = await caller.connect()
    session = await caller.start("orders")
    await _goes_on(caller, session, 1)
    # The broker's start script and its Erlang machine are one process group.
    os.killpg(own_node.pid, signal.SIGSTOP)
    try:
        await _refused_in_time(caller, other, session, connection, 2)
    finally:
        os.killpg(own_node.pid, signal.SIGCONT)
    await _goes_on(caller, session, 2)
    await own_node.kill()
    try:
        await _refused_in_time(caller, other, session, connection, 3)
    finally:
        await own_node.start()
    await _goes_on(caller, session, 3)
