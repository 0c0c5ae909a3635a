"""Acceptance: what a caller can ask of grids, connections and sessions besides sending and fetching."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.gatewaystand import Got
from tests.support.services import order
from tests.support.stack import GRID, Caller


async def _post(caller: Caller, session: str, verb: str, body: object = None) -> Got:
    return await caller.ask("POST", f"/v1/sessions/{session}/{verb}", body=body, headers={"Content-Length": "0"} if body is None else None)


async def test_grids_that_the_caller_may_use(first: Caller, second: Caller) -> None:
    """Both gateways name the grid, its state and its applications."""
    for caller in (first, second):
        grid = next(one for one in (await caller.get("/v1/grids")).json["grids"] if one["name"] == GRID)
        assert (grid["state"], grid["kind"]) == ("up", "local")
        assert {"echo", "orders"} <= set(grid["applications"])


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"grid": "NO_SUCH_GRID"}, 404, "unknown-grid"),
        ({"applicationName": "no-such-application"}, 404, "unknown-application"),
        ({"grid": ["a", "list"]}, 400, "invalid-attribute"),
        ({"colour": "blue"}, 400, "invalid-attribute"),
    ],
)
async def test_connections_that_cannot_be_made(first: Caller, fields: dict[str, object], status: int, code: str) -> None:
    """An unknown grid or application, or an attribute that is none, is refused by name."""
    got = await first.ask("POST", "/v1/connections", body={"grid": GRID, "applicationName": "echo"} | fields, key=first.key())
    assert (got.status, got.code) == (status, code)


async def test_an_unknown_session_type_is_refused_by_the_grid(first: Caller) -> None:
    """A session type that the application profile does not have is refused with its own code."""
    got = await first.create(await first.connect(applicationName="orders"), type="NoSuchType")
    assert (got.status, got.code) == (400, "unknown-session-type")


async def test_cancelled_tasks_have_a_cancelled_output(first: Caller, second: Caller, tmp_path: Path) -> None:
    """Tasks cancelled by id and by tag, waiting or running, each end in one cancelled output; the others run."""
    session = await first.start("orders")
    gate = tmp_path / "gate"
    held = [order("gate", gate=str(gate), text=str(number)) for number in range(4)]
    by_id = (await first.submit(session, *held)).json["tasks"]
    by_tag = (await first.submit(session, *held, tag="drop-me")).json["tasks"]
    kept = (await first.submit(session, order("echo", text="kept"))).json["tasks"]
    ids = [task["taskId"] for task in by_id]
    assert (await _post(second, session, "tasks/cancel", {"taskIds": ids})).status == 202
    assert (await _post(second, session, "tasks/cancel", {"tag": "drop-me"})).status == 202
    outputs = {output["taskId"]: output for output in await first.fetch_all(session, 9)}
    assert len(outputs) == 9
    gone = [outputs[task["taskId"]]["exception"] for task in by_id + by_tag]
    assert {(one["errorType"], one["code"]) for one in gone} == {("Cancelled", "cancelled")}
    assert outputs[kept[0]["taskId"]]["successful"] is True
    assert (await first.describe(session))["tasks"] == {"received": 9, "done": 1, "canceled": 8}


async def test_a_suspended_session_takes_inputs_and_runs_them_when_resumed(first: Caller, second: Caller) -> None:
    """While suspended, inputs are taken and nothing is run; after resuming they run."""
    session = await first.start()
    assert (await _post(first, session, "suspend")).status == 204
    assert (await second.describe(session))["state"] == "suspended"
    assert (await second.submit(session, b"patient")).status == 202
    assert (await first.fetch(session, wait=0.5)).json["outputs"] == []
    assert (await _post(second, session, "resume")).status == 204
    assert (await first.describe(session))["state"] == "open"
    assert len(await first.fetch_all(session, 1)) == 1


async def test_a_sessions_priority_can_be_changed(first: Caller, second: Caller) -> None:
    """A new priority shows in the description; one out of range is refused and changes nothing."""
    session = await first.start("echo", priority=3)
    assert (await first.describe(session))["priority"] == 3
    assert (await _post(second, session, "priority", {"priority": 9000})).status == 204
    refused = await _post(second, session, "priority", {"priority": 10_001})
    assert (refused.status, refused.code) == (400, "invalid-attribute")
    assert (await first.describe(session))["priority"] == 9000


async def test_counts_of_a_session_follow_its_tasks(first: Caller, tmp_path: Path) -> None:
    """Received, running, pending, done and failed tasks are counted, and the acknowledged outputs once a cursor came back."""
    session = await first.start("orders", name="figures", tag="counted")
    gate = tmp_path / "gate"
    await first.submit(session, *(order("gate", gate=str(gate), text=str(number)) for number in range(6)))

    async def busy() -> bool:
        tasks = (await first.describe(session))["tasks"]
        return bool(tasks.get("received") == 6 and tasks.get("running", 0) > 0 and tasks.get("running", 0) + tasks.get("pending", 0) == 6)

    await eventually(busy, within=20)
    gate.touch()
    await first.submit(session, order("fatal"))
    outputs = await first.fetch_all(session, 7)
    assert len(outputs) == 7
    cursor = (await first.fetch(session, count=7)).json["cursor"]
    await first.fetch(session, after=cursor, wait=0)

    async def settled() -> bool:
        found = await first.describe(session)
        assert (found["name"], found["tag"], found["state"], found["lastSequence"]) == ("figures", "counted", "open", 7)
        return bool(found["tasks"] == {"received": 7, "done": 6, "error": 1} and found["acknowledged"] == 7)

    await eventually(settled, within=15)


async def test_my_sessions(first: Caller, second: Caller) -> None:
    """The list names the caller's open sessions, whichever worker owns them, and no closed one."""
    opened = [await first.start("echo", name=f"mine-{number}") for number in range(3)]
    closed = await first.start("echo", name="closed")
    await first.close(closed)

    async def listed() -> bool:
        got = (await second.get("/v1/sessions")).json
        names = {one["name"] for one in got["sessions"] if one["state"] == "open"}
        assert got.get("complete", True)
        return {"mine-0", "mine-1", "mine-2"} <= names and "closed" not in names

    await eventually(listed, within=10)
    assert opened


async def test_a_session_takes_nothing_after_its_end(first: Caller, second: Caller) -> None:
    """After a close no gateway takes inputs; closing again succeeds, and the end shows to a fetch."""
    session = await first.start()
    await first.run(session, b"only")
    assert (await first.ask("DELETE", f"/v1/sessions/{session}")).status == 204
    refused = await first.submit(session, b"too late")
    assert (refused.status, refused.code) == (409, "session-closed")

    async def refused_there() -> bool:
        return (await second.submit(session, b"too late")).status == 409

    await eventually(refused_there, within=10)
    assert (await second.ask("DELETE", f"/v1/sessions/{session}")).status == 204
    end = await second.fetch(session, wait=5)
    assert (len(end.json["outputs"]), end.json["ended"]) == (1, True)


async def test_closing_a_connection_closes_its_sessions(first: Caller, second: Caller) -> None:
    """All sessions of a connection end with it, and those of another connection go on."""
    connection = await first.connect()
    ending = [str((await first.create(connection)).json["sessionId"]) for _ in range(2)]
    staying = await first.start()
    assert (await second.ask("DELETE", f"/v1/connections/{connection}")).status == 204
    for session in ending:
        assert (await second.fetch(session, wait=10)).json["ended"] is True
    assert (await first.describe(staying))["state"] == "open"
    assert len(await first.run(staying, b"still open")) == 1


async def test_a_detached_session_works_on_and_is_opened_again(first: Caller, second: Caller) -> None:
    """``DETACH_ON_CLOSE`` keeps the workload: it is opened again on another connection through the other gateway."""
    session = await first.start()
    await first.submit(session, b"long work")
    assert (await first.ask("DELETE", f"/v1/sessions/{session}?closeFlags=DETACH_ON_CLOSE")).status == 204
    connection = await second.connect()
    opened = await second.ask("POST", f"/v1/connections/{connection}/sessions/open", body={"sessionId": session}, key=second.key())
    assert (opened.status, opened.json["state"]) == (200, "open")
    assert len(await second.fetch_all(opened.json["sessionId"], 1)) == 1
