"""Connections and sessions: how they are made, refused, described and closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from gateway.main import RunningGateway
from schemas.topology import ClusterTopology
from tests.support.eventually import eventually
from tests.support.gatewaystand import APPLICATION, GRID, Client, Stand
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker


async def test_connect_finds_the_grid_by_name_by_url_or_by_application(client: Client) -> None:
    """All three ways of the requirement lead to the same grid."""
    for fields in ({"grid": GRID}, {"clusterURL": "https://masters.example:7870"}, {}):
        got = await client.ask("POST", "/v1/connections", body={"applicationName": APPLICATION} | fields, key=client.key())
        assert (got.status, got.json["grid"]) == (201, GRID)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"applicationName": APPLICATION, "grid": "NOWHERE"}, 404, "unknown-grid"),
        ({"applicationName": APPLICATION, "clusterURL": "https://evil.example"}, 404, "unknown-grid"),
        ({"applicationName": "unheard-of", "grid": GRID}, 404, "unknown-application"),
        ({"applicationName": "unheard-of"}, 404, "unknown-application"),
        ({"applicationName": "other", "grid": "OTHER", "clusterURL": "https://masters.example:7870"}, 400, "invalid-attribute"),
        ({"applicationName": "other", "grid": "OTHER"}, 400, "invalid-attribute"),
        ({"grid": GRID}, 400, "invalid-attribute"),
        ({"applicationName": APPLICATION, "colour": "red"}, 400, "invalid-attribute"),
        ({"applicationName": ""}, 400, "invalid-attribute"),
    ],
    ids=str,
)
async def test_a_connection_that_leads_nowhere_is_refused(client: Client, body: dict[str, str], status: int, code: str) -> None:
    """Unknown grids, applications and attributes, and contradictory ones, each have their code."""
    got = await client.ask("POST", "/v1/connections", body=body, key=client.key())
    assert (got.status, got.code) == (status, code)


async def test_the_same_connect_gives_the_same_id(client: Client) -> None:
    """A repeated connect makes no second connection; the key with another body is refused."""
    body = {"applicationName": APPLICATION, "grid": GRID}
    first = await client.ask("POST", "/v1/connections", body=body, key="k1")
    second = await client.ask("POST", "/v1/connections", body=body, key="k1")
    assert first.json == second.json
    reused = await client.ask("POST", "/v1/connections", body=body | {"username": "x"}, key="k1")
    assert (reused.status, reused.code) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("key", [None, "", "white space", "x" * 256])
async def test_creating_wants_an_idempotency_key(client: Client, key: str | None) -> None:
    """Without a usable key nothing is created, since a silent repetition could not be told from a second wish."""
    got = await client.ask("POST", "/v1/connections", body={"applicationName": APPLICATION}, key=key)
    assert (got.status, got.code) == (400, "idempotency-key-missing")


async def test_a_repeated_create_makes_one_session(client: Client, owner: ScriptedOwner) -> None:
    """Java's HttpURLConnection may send a POST twice: both copies get one session, also when they come together."""
    connection = await client.connect()
    path, body = f"/v1/connections/{connection}/sessions", {"name": "once"}
    first, second = await asyncio.gather(client.ask("POST", path, body=body, key="k"), client.ask("POST", path, body=body, key="k"))
    third = await client.ask("POST", path, body=body, key="k")
    assert first.json == second.json == third.json
    assert len(owner.sessions) == 1
    reused = await client.ask("POST", path, body={"name": "twice"}, key="k")
    assert (reused.status, reused.code) == (422, "idempotency-key-reused")


async def test_a_session_carries_what_was_asked_for(client: Client, owner: ScriptedOwner) -> None:
    """Attributes reach the owner as they were given, flags as bits, and what was not given stays unset."""
    created = await client.create(name="n", type="T", flags=["SEND_SYNC", "ReceiveSync"], tag="t-1", priority=77, commonData="aGk=")
    assert (created.status, created.json["state"], created.json["nativeId"][:7]) == (201, "open", "native-")
    claim = owner.session.claim
    assert (claim.attributes.name, claim.attributes.type, claim.attributes.flags, claim.attributes.tag) == ("n", "T", 5, "t-1")
    assert claim.attributes.priority == 77
    assert str(claim.attributes.threshold) == "UNSET"
    assert claim.principal == "token|tester"
    assert await eventually(lambda: owner.session.common, within=5) == [b"hi"]
    assert claim.common_data_key


@pytest.mark.parametrize(
    "attributes",
    [
        {"priority": 0},
        {"priority": 10_001},
        {"tag": "white space"},
        {"tag": "x" * 129},
        {"name": "x" * 257},
        {"flags": ["RECEIVE_SYNC", "RECEIVE_ASYNC"]},
        {"flags": "NO_SUCH_FLAG"},
        {"flags": 64},
        {"type": "line\nbreak"},
        {"compressionEnable": False, "threshold": 32},
        {"dataCompressionFlag": "Smallest"},
        {"directDataTransferEnable": True},
        {"sessionName": "of SYMREST"},
        {"commonData": "no base64!"},
    ],
    ids=str,
)
async def test_attributes_that_symphony_would_refuse_start_nothing(client: Client, owner: ScriptedOwner, attributes: dict[str, Any]) -> None:
    """Out of range, forbidden, contradictory or unknown: 400 with one code, and no claim."""
    got = await client.create(**attributes)
    assert (got.status, got.code) == (400, "invalid-attribute")
    assert not owner.sessions


async def test_a_session_that_the_grid_refuses_says_why(client: Client, owner: ScriptedOwner) -> None:
    """The owner's problem code and words reach the client; later requests for the session are refused the same way."""
    got = await client.create(name="refuse:unknown-session-type")
    assert (got.status, got.code, got.json["detail"]) == (400, "unknown-session-type", "as the script says")
    assert len(owner.sessions) == 1


async def test_a_lane_in_use_is_answered_by_another_lane(client: Client, owner: ScriptedOwner) -> None:
    """An owner that finds another session in its lane refuses; the gateway tries the next token, three times in all."""
    got = await client.create(name="refuse:lane-busy")
    assert (got.status, got.code) == (503, "no-free-lane")
    assert len(owner.sessions) == 3
    assert int(got.headers["Retry-After"]) >= 1


async def test_without_a_free_lane_the_answer_is_503(client: Client, owner: ScriptedOwner) -> None:
    """Three lanes carry three sessions; the fourth client is told to come back, and finds a lane after a close."""
    first, *_ = [await client.session(name=f"s{number}") for number in range(3)]
    got = await client.create(name="one too many")
    assert (got.status, got.code) == (503, "no-free-lane")
    assert "Retry-After" in got.headers
    assert (await client.ask("POST", f"/v1/sessions/{first}/close")).status == 204
    assert (await client.create(name="now there is room")).status == 201
    assert len(owner.sessions) == 4


async def test_surplus_tokens_are_dropped(client: Client, owner: ScriptedOwner, broker: Broker, publisher: Publisher, topology: ClusterTopology) -> None:
    """A token of a lane that is live in its journal is used up unseen, and the next one is taken."""
    assert (await client.create(name="one")).status == 201
    lanes = FreeLanes(broker=broker, cluster=topology.cluster, publisher=publisher)
    busy = owner.session.claim.lane
    await lanes.put(busy)
    taken = {busy}
    for name in ("two", "three"):
        assert (await client.create(name=name)).status == 201
        assert owner.session.claim.lane not in taken
        taken.add(owner.session.claim.lane)
    assert (await client.create(name="four")).code == "no-free-lane"
    await lanes.aclose()


async def test_a_session_without_a_worker_is_pending(stand: Stand, secret: str, broker: Broker, publisher: Publisher, topology: ClusterTopology) -> None:
    """When no worker claims it in time the answer is 202 with an id; inputs are refused until it is open, and accepted then."""
    async with stand.gateway(create_seconds=0.5) as running, stand.client(running, secret) as client:
        await running.parts.broker.wait_ready(10)
        got = await client.create(name="early")
        assert (got.status, got.json["state"]) == (202, "pending")
        session = got.json["sessionId"]
        refused = await client.submit(session, b"x")
        assert (refused.status, refused.code) == (503, "session-pending")
        described = await client.ask("GET", f"/v1/sessions/{session}")
        assert described.json["state"] == "pending"
        async with ScriptedOwner(broker=broker, publisher=publisher, cluster=topology.cluster):

            async def accepted() -> bool:
                return (await client.submit(session, b"x")).status == 202

            assert await eventually(accepted, within=15)
            assert len(await client.fetch_all(session, 1)) == 1


@pytest.mark.usefixtures("owner")
async def test_another_callers_ids_are_unknown(stand: Stand, running: RunningGateway, client: Client) -> None:
    """Sessions and connections of another principal answer 404 as forged ones do."""
    connection = await client.connect()
    session = await client.session()
    other_secret = await asyncio.to_thread(stand.token, "other")
    async with stand.client(running, other_secret) as other:

        async def known() -> bool:
            return (await other.ask("GET", "/v1/grids")).status == 200

        await eventually(known, within=5)
        for text in (session, session[:-4] + "AAAA", "nonsense", "x" * 5000):
            for method, path in (("GET", ""), ("GET", "/outputs"), ("POST", "/suspend"), ("DELETE", ""), ("GET", "/outputs/" + "A" * 32)):
                got = await other.ask(method, f"/v1/sessions/{text}{path}")
                assert (got.status, got.code) == (404, "unknown-session")
        assert (await other.submit(session, b"x")).code == "unknown-session"
        assert (await other.create(connection)).code == "unknown-connection"
        assert (await other.ask("DELETE", f"/v1/connections/{connection}")).code == "unknown-connection"
        assert (await other.ask("GET", "/v1/sessions")).json["sessions"] == []


@pytest.mark.usefixtures("owner")
async def test_a_caller_uses_its_own_grids_only(stand: Stand, running: RunningGateway) -> None:
    """A token for one grid sees that grid, and is told that there is no other."""
    secret = await asyncio.to_thread(stand.token, "narrow", "OTHER")
    async with stand.client(running, secret) as narrow:

        async def grids() -> list[str]:
            got = await narrow.ask("GET", "/v1/grids")
            return [grid["name"] for grid in got.json["grids"]] if got.status == 200 else []

        assert await eventually(grids, within=5) == ["OTHER"]
        got = await narrow.ask("POST", "/v1/connections", body={"applicationName": APPLICATION, "grid": GRID}, key="k")
        assert (got.status, got.code) == (404, "unknown-grid")


async def test_sessions_are_listed_and_described(client: Client, owner: ScriptedOwner) -> None:
    """The caller sees its sessions with the ids it knows, their counts and states."""
    sessions = [await client.session(name=f"s{number}") for number in range(2)]
    await client.submit(sessions[0], b"a", b"b")
    await client.fetch_all(sessions[0], 2)
    await eventually(lambda: len(owner.beat().sessions) == 2, within=5)
    listed = (await client.ask("GET", "/v1/sessions")).json
    assert sorted(entry["sessionId"] for entry in listed["sessions"]) == sorted(sessions)
    described = (await client.ask("GET", f"/v1/sessions/{sessions[0]}")).json
    assert (described["name"], described["state"], described["lastSequence"], described["tasks"]["received"]) == ("s0", "open", 2, 2)


async def test_a_session_is_described_from_its_journal_when_no_owner_answers(client: Client, owner: ScriptedOwner) -> None:
    """While an owner is away the journal tells the state, and inputs are still taken."""
    session = await client.session()
    await client.submit(session, b"a")
    await client.fetch_all(session, 1)
    owner.deaf = True
    described = (await client.ask("GET", f"/v1/sessions/{session}")).json
    assert (described["state"], described["lastSequence"]) == ("open", 1)
    suspended = await client.ask("POST", f"/v1/sessions/{session}/suspend")
    assert (suspended.status, suspended.code) == (503, "owner-unavailable")
    assert (await client.submit(session, b"b")).status == 202


async def test_commands_reach_the_owner(client: Client, owner: ScriptedOwner) -> None:
    """Suspend, resume, priority and cancel arrive as they were meant."""
    session = await client.session()
    sent = await client.submit(session, b"a")
    task = sent.json["tasks"][0]["taskId"]
    for word in ("suspend", "resume"):
        assert (await client.ask("POST", f"/v1/sessions/{session}/{word}")).status == 204
    assert (await client.ask("POST", f"/v1/sessions/{session}/priority", body={"priority": 9})).status == 204
    cancelled = await client.ask("POST", f"/v1/sessions/{session}/tasks/cancel", body={"taskIds": [task]})
    assert (cancelled.status, cancelled.json) == (202, {"requested": 1})
    assert (await client.ask("POST", f"/v1/sessions/{session}/tasks/cancel", body={"tag": "batch-1"})).status == 202
    commands = [(request.verb, request.priority, len(request.task_ids), request.tag) for request in owner.session.commands if request.verb != "status"]
    assert commands == [("suspend", 0, 0, ""), ("resume", 0, 0, ""), ("priority", 9, 0, ""), ("cancel", 0, 1, ""), ("cancel", 0, 0, "batch-1")]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("priority", {"priority": 0}, "invalid-attribute"),
        ("priority", {"priority": 10_001}, "invalid-attribute"),
        ("priority", {"priority": "high"}, "invalid-attribute"),
        ("tasks/cancel", {}, "invalid-attribute"),
        ("tasks/cancel", {"taskIds": ["x"]}, "unknown-task"),
        ("tasks/cancel", {"tag": "-x"}, "invalid-attribute"),
        ("tasks/cancel", {"tag": "x", "taskIds": ["A" * 32]}, "invalid-attribute"),
        ("close", {"closeFlags": 3}, "invalid-attribute"),
        ("close", {"closeFlags": "ABORT_ON_CLOSE"}, "invalid-attribute"),
        ("close", {"closeFlags": ["DESTROY_ON_CLOSE", "DETACH_ON_CLOSE"]}, "invalid-attribute"),
    ],
    ids=str,
)
async def test_commands_with_impossible_parameters_reach_nobody(client: Client, owner: ScriptedOwner, path: str, body: dict[str, object], code: str) -> None:
    """Contradictory flags, priorities out of range and forbidden tags are refused at the door."""
    session = await client.session()
    got = await client.ask("POST", f"/v1/sessions/{session}/{path}", body=body)
    assert got.code == code
    assert not owner.session.commands


async def test_a_closed_session_takes_nothing(client: Client, owner: ScriptedOwner) -> None:
    """After a close, submissions answer 409, and closing again succeeds."""
    session = await client.session()
    assert (await client.ask("DELETE", f"/v1/sessions/{session}?closeFlags=DESTROY_ON_CLOSE")).status == 204
    got = await client.submit(session, b"x")
    assert (got.status, got.code) == (409, "session-closed")
    assert (await client.ask("POST", f"/v1/sessions/{session}/close", body={"closeFlags": 1})).status == 204
    assert (await client.ask("GET", f"/v1/sessions/{session}")).json["state"] == "closed"
    assert owner.session.inputs == []


async def test_a_gateway_that_never_saw_the_session_knows_that_it_is_closed(stand: Stand, secret: str, client: Client, owner: ScriptedOwner) -> None:
    """Another gateway asks the owner or the journal before it takes inputs."""
    session = await client.session()
    async with stand.gateway() as second, stand.client(second, secret) as other:
        await second.parts.broker.wait_ready(10)
        assert (await other.submit(session, b"x")).status == 202
        assert (await other.ask("DELETE", f"/v1/sessions/{session}")).status == 204
    async with stand.gateway() as third, stand.client(third, secret) as other:
        await third.parts.broker.wait_ready(10)
        got = await other.submit(session, b"x")
        assert (got.status, got.code) == (409, "session-closed")
    assert owner.session.inputs == [b"x"]


async def test_closing_a_connection_closes_its_sessions(client: Client, owner: ScriptedOwner) -> None:
    """All sessions of the connection end, those of another one do not."""
    connection = await client.connect()
    for name in ("a", "b"):
        assert (await client.create(connection, name=name)).status == 201
    await client.session(name="of another connection")
    assert (await client.ask("DELETE", f"/v1/connections/{connection}")).status == 204
    assert [session.closed for session in owner.sessions.values()] == [True, True, False]


@pytest.mark.usefixtures("owner")
async def test_a_session_is_opened_again(client: Client) -> None:
    """OpenSession gives the session's state to a client of the same application, and nothing to another one's."""
    connection = await client.connect()
    session = (await client.create(connection)).json["sessionId"]
    got = await client.ask("POST", f"/v1/connections/{connection}/sessions/open", body={"sessionId": session})
    assert (got.status, got.json["sessionId"], got.json["state"]) == (200, session, "open")
    other = await client.connect(applicationName="other", grid="OTHER", username="u")
    got = await client.ask("POST", f"/v1/connections/{other}/sessions/open", body={"sessionId": session})
    assert (got.status, got.code) == (404, "unknown-session")


async def test_common_data_is_replaced(client: Client, owner: ScriptedOwner) -> None:
    """PUT and its POST twin, as JSON and as bytes, put new common data into the lane."""
    session = await client.session()
    path = f"/v1/sessions/{session}/common-data"
    assert (await client.ask("PUT", path, body={"commonData": "b25l"})).status == 202
    assert (await client.ask("POST", path, data=b"two", headers={"Content-Type": "application/octet-stream"})).status == 202
    await eventually(lambda: owner.session.common == [b"one", b"two"], within=5)


@pytest.mark.usefixtures("owner")
async def test_grids_show_what_heartbeats_tell(client: Client) -> None:
    """A grid with a living worker is up; the answer has an ETag, and the ETag answers 304."""

    async def up() -> bool:
        grids = {grid["name"]: grid for grid in (await client.ask("GET", "/v1/grids")).json["grids"]}
        return bool(grids[GRID]["state"] == "up" and grids[GRID]["kind"] == "scripted")

    await eventually(up, within=5)
    got = await client.ask("GET", "/v1/grids")
    again = await client.ask("GET", "/v1/grids", headers={"If-None-Match": got.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
