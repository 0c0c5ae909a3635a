"""Acceptance: a session's common data reaches the services that run its tasks."""

from __future__ import annotations

import base64

from tests.support.services import order
from tests.support.stack import Caller


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def _seen(caller: Caller, session: str) -> bytes:
    """Run one task and return the common data that its service saw."""
    sent = await caller.submit(session, order("common"))
    task = sent.json["tasks"][0]["taskId"]
    outputs = {output["taskId"]: output for output in await caller.fetch_all(session, (await caller.describe(session))["tasks"]["received"])}
    return base64.b64decode(outputs[task]["output"])


async def test_common_data_given_at_creation(first: Caller) -> None:
    """What ``createSession`` brought is what a task's service sees."""
    session = await first.start("orders", commonData=_b64(b"the book of 2026"))
    assert await _seen(first, session) == b"the book of 2026"


async def test_a_session_without_common_data(first: Caller) -> None:
    """Unset common data stays unset."""
    session = await first.start("orders")
    assert await _seen(first, session) == b"none"


async def test_common_data_given_later_and_replaced(first: Caller, second: Caller) -> None:
    """Common data set on an open session, and replaced through the other gateway as bytes, holds for all tasks sent afterwards."""
    session = await first.start("orders")
    set_later = await first.ask("PUT", f"/v1/sessions/{session}/common-data", body={"commonData": _b64(b"prices of noon")})
    assert set_later.status == 202
    assert await _seen(first, session) == b"prices of noon"
    octets = {"Content-Type": "application/octet-stream"}
    replaced = await second.ask("POST", f"/v1/sessions/{session}/common-data", data=b"prices of the close", headers=octets)
    assert replaced.status == 202
    assert await _seen(second, session) == b"prices of the close"
