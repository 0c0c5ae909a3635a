"""One task's way through a gateway, with real TLS and a real broker."""

from __future__ import annotations

import base64

import pytest

from tests.support.gatewaystand import Client
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker


async def test_a_task_goes_in_and_its_output_comes_out(client: Client, owner: ScriptedOwner) -> None:
    """Connect, create a session, send, fetch, acknowledge, close: the seven services of the requirement in one walk."""
    session = await client.session(name="walk")
    sent = await client.submit(session, b"one", b"two")
    assert sent.status == 202
    got = await client.fetch(session)
    outputs = got.json["outputs"]
    assert [base64.b64decode(output["output"]) for output in outputs] == [b"one", b"two"]
    assert [output["taskId"] for output in outputs] == [task["taskId"] for task in sent.json["tasks"]]
    again = await client.fetch(session, after=got.json["cursor"], wait=0)
    assert again.json["outputs"] == []
    closed = await client.ask("DELETE", f"/v1/sessions/{session}")
    assert closed.status == 204
    assert owner.session.closed
