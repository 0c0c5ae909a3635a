"""Handing out outputs: cursors, long polls, acknowledgements, streams of events, single outputs."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable

import aiohttp
import msgspec
import pytest

from gateway.main import RunningGateway
from runtime.keyfiles import load_ring
from schemas.cursors import Cursor, open_cursor, seal_cursor
from schemas.http import FetchAnswer
from schemas.ids import open_session_id
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client, Stand
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker


async def test_one_cursor_gives_the_same_bytes_at_two_gateways(stand: Stand, secret: str, client: Client, owner: ScriptedOwner) -> None:
    """Every page of a session is byte for byte the same from a warm gateway and from one that never saw the session."""
    session = await client.session()
    for number in range(20):
        assert (await client.submit(session, *(b"%d-%d" % (number, index) for index in range(13)))).status == 202
    await eventually(lambda: owner.session.next == 261, within=10)
    cursor, pages, numbers = "", 0, list[int]()
    async with stand.gateway() as second, stand.client(second, secret) as other:
        await second.parts.broker.wait_ready(10)
        while True:
            mine = await client.fetch(session, after=cursor, wait=0, count=17)
            theirs = await other.fetch(session, after=cursor, wait=0, count=17)
            assert mine.body == theirs.body
            pages += 1
            numbers += [output["sequence"] for output in mine.json["outputs"]]
            cursor = mine.json["cursor"]
            if not mine.json["more"]:
                break
    assert numbers == list(range(1, 261))
    assert pages == 16


async def test_an_old_cursor_gives_its_page_again(client: Client, owner: ScriptedOwner) -> None:
    """A client that lost an answer asks again with the cursor it has, also after it went on."""
    session = await client.session()
    await client.submit(session, *(b"%d" % number for number in range(30)))
    await eventually(lambda: owner.session.next == 31, within=5)
    first = await client.fetch(session, count=10)
    second = await client.fetch(session, after=first.json["cursor"], count=10)
    third = await client.fetch(session, after=second.json["cursor"], count=10)
    assert [output["sequence"] for output in third.json["outputs"]] == list(range(21, 31))
    again = await client.fetch(session, after=first.json["cursor"], count=10)
    assert again.json["outputs"] == second.json["outputs"]
    assert again.json["cursor"] == second.json["cursor"]
    assert (await client.fetch(session, count=10)).json["outputs"] == first.json["outputs"]


@pytest.mark.usefixtures("owner")
async def test_a_long_poll_wakes_with_the_output(client: Client) -> None:
    """A waiting poll answers within milliseconds of the output, not at the end of its wait."""
    session = await client.session()
    polling = asyncio.create_task(client.fetch(session, wait=20))
    await eventually(lambda: not polling.done(), within=1)
    began = time.monotonic()
    await client.submit(session, b"x")
    got = await polling
    assert len(got.json["outputs"]) == 1
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("owner")
async def test_a_long_poll_ends_in_time(client: Client) -> None:
    """Without outputs the answer comes after the wait, empty, with the cursor that was given; Prefer works as well."""
    session = await client.session()
    cursor = (await client.fetch(session, wait=0)).json["cursor"]
    began = time.monotonic()
    got = await client.fetch(session, after=cursor, wait=0.5)
    assert (got.json["outputs"], got.json["cursor"], got.json["ended"]) == ([], cursor, False)
    assert 0.4 < time.monotonic() - began < 3
    began = time.monotonic()
    preferred = await client.ask("GET", f"/v1/sessions/{session}/outputs", headers={"Prefer": "respond-async, wait=1"})
    assert 0.9 < time.monotonic() - began < 3
    assert preferred.headers["Preference-Applied"] == "wait"


async def test_acknowledgements_reach_the_owner(client: Client, owner: ScriptedOwner) -> None:
    """Coming back with a cursor acknowledges, and the message is repeated no more once the journal shows it."""
    session = await client.session()
    await client.submit(session, b"a", b"b", b"c")
    got = await client.fetch(session)
    await client.fetch(session, after=got.json["cursor"], wait=0)
    await eventually(lambda: owner.session.acked == 4, within=5)
    for _ in range(5):
        await client.fetch(session, after=got.json["cursor"], wait=0)
    assert len(owner.session.acks) <= 3


async def test_a_client_that_only_waits_keeps_its_session_alive(client: Client, owner: ScriptedOwner) -> None:
    """A poll from the start acknowledges nothing, and the owner still hears that somebody waits."""
    session = await client.session()
    await client.fetch(session, wait=0)
    await eventually(lambda: len(owner.session.acks) == 1, within=5)
    await client.fetch(session, wait=0)

    assert [ack.next for ack in owner.session.acks] == [1]


async def test_acknowledgements_are_repeated_until_shown(client: Client, owner: ScriptedOwner) -> None:
    """An owner that did not hear hears it again, at most five times a second."""
    session = await client.session()
    await client.submit(session, b"a")
    cursor = (await client.fetch(session)).json["cursor"]
    owner.deaf = True
    for _ in range(10):
        await client.fetch(session, after=cursor, wait=0)
    owner.deaf = False
    await eventually(lambda: owner.session.acked == 2, within=8)


@pytest.mark.usefixtures("owner")
async def test_the_end_of_a_session_is_told_with_its_last_output(client: Client) -> None:
    """``ended`` comes when everything before the end was handed out, not before."""
    session = await client.session()
    await client.submit(session, b"a", b"b")
    await client.fetch(session)
    await client.ask("DELETE", f"/v1/sessions/{session}")
    first = await client.fetch(session, count=1)
    assert (len(first.json["outputs"]), first.json["ended"], first.json["more"]) == (1, False, True)
    last = await client.fetch(session, after=first.json["cursor"], count=1)
    assert (len(last.json["outputs"]), last.json["ended"]) == (1, True)
    began = time.monotonic()
    empty = await client.fetch(session, after=last.json["cursor"], wait=20)
    assert (empty.json["outputs"], empty.json["ended"]) == ([], True)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "query",
    [
        "countMax=0",
        "countMax=-1",
        "countMax=10001",
        "countMax=9999999999999999999999",
        "countMax=NaN",
        "countMax=1.5",
        "countMax=",
        "countMax=%D9%A1",
        "wait=-1",
        "wait=NaN",
        "wait=inf",
        "wait=soon",
        "countMax=1&countMax=2",
    ],
)
@pytest.mark.usefixtures("owner")
async def test_impossible_parameters_are_refused(client: Client, query: str) -> None:
    """Counts and waits out of range or not numbers are 400 with one code."""
    session = await client.session()
    got = await client.ask("GET", f"/v1/sessions/{session}/outputs?{query}")
    assert (got.status, got.code) == (400, "invalid-parameter")


@pytest.mark.usefixtures("owner")
async def test_foreign_and_forged_cursors_are_refused(client: Client) -> None:
    """A cursor of another session opens nothing here, and an altered one nowhere."""
    mine, other = await client.session(), await client.session()
    await client.submit(other, b"a")
    cursor = (await client.fetch(other)).json["cursor"]
    for text in (cursor, cursor[:-3] + "AAA", "nonsense", "x" * 5000, "%00"):
        got = await client.fetch(mine, after=text, wait=0)
        assert (got.status, got.code) == (400, "invalid-cursor")


@pytest.mark.usefixtures("owner")
async def test_one_output_is_given_as_bytes(stand: Stand, secret: str, client: Client) -> None:
    """By task id, from a gateway's memory and from the journal; a failed task tells its exception."""
    session = await client.session()
    sent = await client.submit(session, b"\x00raw\xff", b"fail", tag="t")
    good, bad = (task["taskId"] for task in sent.json["tasks"])
    await client.fetch_all(session, 2)
    async with stand.gateway() as second, stand.client(second, secret) as other:
        await second.parts.broker.wait_ready(10)
        for caller in (client, other):
            got = await caller.ask("GET", f"/v1/sessions/{session}/outputs/{good}")
            assert (got.status, got.body, got.headers["Content-Type"]) == (200, b"\x00raw\xff", "application/octet-stream")
            assert (got.headers["Task-Sequence"], got.headers["Task-Successful"], got.headers["Task-Tag"]) == ("1", "true", "t")
            failed = await caller.ask("GET", f"/v1/sessions/{session}/outputs/{bad}")
            assert (failed.status, failed.headers["Task-Successful"]) == (200, "false")
            assert failed.json["exception"]["code"] == "service-exception"
        for text in ("A" * 32, "short", "%20"):
            missing = await other.ask("GET", f"/v1/sessions/{session}/outputs/{text}")
            assert (missing.status, missing.code) == (404, "unknown-task")


@pytest.mark.usefixtures("owner")
async def test_messagepack_outputs_are_binary(client: Client) -> None:
    """Payloads come without base64 to who asks for MessagePack."""
    session = await client.session()
    await client.submit(session, b"\x00\xff", b"fail")
    got = await client.fetch(session, headers={"Accept": "application/msgpack"})
    answer = msgspec.msgpack.decode(got.body, type=FetchAnswer)
    assert answer.outputs[0].output == b"\x00\xff"
    assert not answer.outputs[1].successful


@pytest.mark.usefixtures("owner")
async def test_answers_are_cut_at_their_size(stand: Stand, secret: str) -> None:
    """A page ends before it exceeds its bytes, but never without one output; nothing is skipped."""
    async with stand.gateway(answer_bytes=300_000) as running, stand.client(running, secret) as client:
        await running.parts.broker.wait_ready(10)
        session = await client.session()
        payloads = [bytes([number]) * (100_000 if number != 3 else 500_000) for number in range(8)]
        for payload in payloads:
            await client.submit(session, payload)
        cursor, got, sizes = "", list[bytes](), list[int]()
        while len(got) < len(payloads):
            page = (await client.fetch(session, after=cursor)).json
            got += [base64.b64decode(output["output"]) for output in page["outputs"]]
            sizes.append(len(page["outputs"]))
            cursor = page["cursor"]
    assert got == payloads
    assert max(sizes) <= 3


@pytest.mark.usefixtures("owner")
async def test_a_stream_of_events_carries_outputs_as_they_come(client: Client) -> None:
    """Server-sent events: each with its cursor as id; Last-Event-ID goes on where the stream broke."""
    session = await client.session()
    await client.submit(session, b"one")
    url = f"{client.base}/v1/sessions/{session}/outputs"
    headers = {"Authorization": f"Bearer {client.secret}", "Accept": "text/event-stream"}
    async with client.http.get(url, headers=headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        first = await _event(response.content)
        assert base64.b64decode(msgspec.json.decode(first["data"])["outputs"][0]["output"]) == b"one"
        await client.submit(session, b"two")
        second = await _event(response.content)
        assert msgspec.json.decode(second["data"])["outputs"][0]["sequence"] == 2
    async with client.http.get(url, headers=headers | {"Last-Event-ID": first["id"].decode()}) as response:
        again = await _event(response.content)
        assert (again["id"], again["data"]) == (second["id"], second["data"])
        await client.ask("DELETE", f"/v1/sessions/{session}")
        ended = await _event(response.content)
        assert ended["event"] == b"ended"
        assert await response.content.read() == b""


async def _event(stream: aiohttp.StreamReader) -> dict[str, bytes]:
    while True:
        lines = (await asyncio.wait_for(stream.readuntil(b"\n\n"), 10)).strip().split(b"\n")
        fields = {name.decode(): value for name, _, value in (line.partition(b": ") for line in lines)}
        if "data" in fields:
            return fields


@pytest.mark.usefixtures("owner")
async def test_many_sessions_may_be_polled_at_once(running: RunningGateway, client: Client) -> None:
    """Polls of one session share a reader; it is closed when nobody has come for a while."""
    session = await client.session()
    polls = [asyncio.create_task(client.fetch(session, wait=10)) for _ in range(50)]
    await eventually(lambda: running.parts.readers.count == 1, within=5)
    await client.submit(session, b"x")
    answers = await asyncio.gather(*polls)
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.usefixtures("owner")
async def test_idle_readers_are_closed(stand: Stand, secret: str) -> None:
    """A journal that nobody polls any more costs nothing after a while, and a later poll opens it again."""
    async with stand.gateway(reader_idle_seconds=0.1) as running, stand.client(running, secret) as client:
        await running.parts.broker.wait_ready(10)
        session = await client.session()
        await client.submit(session, b"x")
        cursor = (await client.fetch(session)).json["cursor"]
        await eventually(lambda: running.parts.readers.count == 0, within=12)
        assert running.parts.readers.bytes == 0
        assert (await client.fetch(session, after=cursor, wait=0)).json["outputs"] == []


async def test_reading_ahead_is_bounded(stand: Stand, secret: str, owner: ScriptedOwner) -> None:
    """A session whose outputs nobody fetches is read ahead to its bound and no further; everything comes out in the end."""
    async with stand.gateway(session_reader_bytes=500_000) as running, stand.client(running, secret) as client:
        await running.parts.broker.wait_ready(10)
        session = await client.session()
        for _ in range(40):
            await client.submit(session, *(bytes(10_000) for _ in range(10)))
        await eventually(lambda: owner.session.next == 401, within=10)
        await eventually(lambda: running.parts.readers.bytes > 500_000, within=5)
        assert running.parts.readers.bytes < 2_000_000
        assert len(await client.fetch_all(session, 400)) == 400


def _cursor_of(stand: Stand, session: str, change: Callable[[Cursor], Cursor], text: str) -> str:
    """Seal an altered cursor as a gateway would that had seen another journal."""
    ring = load_ring(stand.folder / "keys.json")
    sid = open_session_id(ring, session).sid
    return seal_cursor(ring, sid, change(open_cursor(ring, sid, text)))


async def test_a_cursor_ahead_of_the_journal_waits_for_the_owner(stand: Stand, client: Client, owner: ScriptedOwner) -> None:
    """When records were lost below a client's cursor, it is told to come back, and the owner is told to begin above it."""
    session = await client.session()
    await client.submit(session, b"a")
    cursor = (await client.fetch(session)).json["cursor"]
    ahead = await asyncio.to_thread(_cursor_of, stand, session, lambda seen: msgspec.structs.replace(seen, num=99, nonce=b"lost....", next=7), cursor)
    got = await client.fetch(session, after=ahead, wait=0)
    assert (got.status, got.code) == (503, "owner-unavailable")
    await eventually(lambda: any((ack.num, ack.next) == (99, 7) for ack in owner.session.acks), within=5)


@pytest.mark.usefixtures("owner")
async def test_a_cursor_of_a_lost_epoch_is_sent_back(stand: Stand, client: Client) -> None:
    """A client whose epoch vanished gets everything after its last acknowledgement again, and ``rewound`` says so."""
    session = await client.session()
    await client.submit(session, b"a", b"b", b"c")
    cursor = (await client.fetch(session)).json["cursor"]
    lost = await asyncio.to_thread(_cursor_of, stand, session, lambda seen: msgspec.structs.replace(seen, nonce=b"lost...."), cursor)
    got = await client.fetch(session, after=lost, wait=0)
    assert got.status == 200
    assert got.json["rewound"]
    assert [output["sequence"] for output in got.json["outputs"]] == [1, 2, 3]
    assert not (await client.fetch(session, after=got.json["cursor"], wait=0)).json["rewound"]


@pytest.mark.usefixtures("owner")
async def test_a_misspelt_parameter_is_refused(client: Client) -> None:
    """Nobody gets 100 outputs in silence who asked for 5 of them."""
    session = await client.session()
    got = await client.ask("GET", f"/v1/sessions/{session}/outputs?countmax=5")
    assert (got.status, got.code, "countmax" in got.json["detail"]) == (400, "invalid-parameter", True)
