"""Submission: what is stored when a client hears 202, what a repetition does, and what is refused."""

from __future__ import annotations

import asyncio
import base64

import msgspec
import pytest

from broker.errors import RejectedError, UnconfirmedError
from gateway.main import RunningGateway
from schemas.http import SubmitAnswer, SubmitRequest, TaskSubmission
from tests.support.eventually import eventually
from tests.support.gatewaystand import Client, Stand
from tests.support.scriptedowner import ScriptedOwner

pytestmark = pytest.mark.broker

OCTETS = {"Content-Type": "application/octet-stream"}


async def test_a_repeated_submission_gives_the_same_ids_and_one_output(stand: Stand, secret: str, client: Client, owner: ScriptedOwner) -> None:
    """The same key and body through two gateways: the same ids, one execution each, one output each."""
    session = await client.session()
    async with stand.gateway() as second, stand.client(second, secret) as other:
        await second.parts.broker.wait_ready(10)
        answers = [
            await client.submit(session, b"a", b"b", key="k"),
            await other.submit(session, b"a", b"b", key="k"),
            await client.submit(session, b"a", b"b", key="k"),
        ]
    assert len({answer.body for answer in answers}) == 1
    outputs = await client.fetch_all(session, 2)
    assert len(outputs) == 2
    assert owner.session.inputs == [b"a", b"b"]


async def test_a_key_with_another_body_is_refused(client: Client, owner: ScriptedOwner) -> None:
    """A reused key starts nothing, whether the body, its type or a header differs."""
    session = await client.session()
    assert (await client.submit(session, b"a", key="k")).status == 202
    got = await client.submit(session, b"other", key="k")
    assert (got.status, got.code) == (422, "idempotency-key-reused")
    path = f"/v1/sessions/{session}/tasks"
    assert (await client.ask("POST", path, data=b"x", headers=OCTETS, key="k2")).status == 202
    got = await client.ask("POST", path, data=b"x", headers=OCTETS | {"Task-Tag": "t"}, key="k2")
    assert got.code == "idempotency-key-reused"
    await eventually(lambda: owner.session.inputs == [b"a", b"x"], within=5)


async def test_a_submission_without_a_key_is_refused(client: Client, owner: ScriptedOwner) -> None:
    """The key is what makes a repetition safe."""
    session = await client.session()
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=b"x", headers=OCTETS)
    assert (got.status, got.code) == (400, "idempotency-key-missing")
    assert owner.session.inputs == []


async def test_one_task_goes_as_bytes_with_its_attributes_in_headers(client: Client, owner: ScriptedOwner) -> None:
    """Old Java clients have no JSON: a body of bytes, and headers for the rest."""
    session = await client.session()
    headers = OCTETS | {"Task-Tag": "batch-7", "Task-Priority": "42", "Task-Timeout": "1.5", "Accept": "text/html, *; q=.2, */*; q=.2"}
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=b"\x00\xff", headers=headers, key="k")
    assert got.status == 202
    await eventually(lambda: owner.session.inputs == [b"\x00\xff"], within=5)
    assert owner.session.tags == ["batch-7"]
    assert len(got.json["tasks"][0]["taskId"]) == 32


async def test_messagepack_goes_both_ways(client: Client, owner: ScriptedOwner) -> None:
    """Binary payloads travel without base64."""
    session = await client.session()
    body = msgspec.msgpack.encode(SubmitRequest(tasks=[TaskSubmission(task_input=b"\x00\x01", tag="t")]))
    headers = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=body, headers=headers, key="k")
    answer = msgspec.msgpack.decode(got.body, type=SubmitAnswer)
    assert (got.status, got.headers["Content-Type"], len(answer.tasks)) == (202, "application/msgpack", 1)
    await eventually(lambda: owner.session.inputs == [b"\x00\x01"], within=5)


@pytest.mark.usefixtures("owner")
async def test_bad_items_of_a_bulk_fail_alone(client: Client) -> None:
    """Each item has its own outcome, in the order of the request."""
    session = await client.session()
    good = base64.b64encode(b"good").decode()
    tasks = [
        {"taskInput": good},
        {"taskInput": good, "tag": "-forbidden"},
        {"taskInput": good, "taskPriority": 0},
        {"taskInput": good, "timeoutInSec": -1},
        {"taskInput": good, "tag": "fine"},
    ]
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", body={"tasks": tasks}, key="k")
    assert got.status == 202
    codes = [task.get("error", {}).get("code", "") for task in got.json["tasks"]]
    assert codes == ["", "invalid-attribute", "invalid-attribute", "invalid-attribute", ""]
    outputs = await client.fetch_all(session, 2)
    assert [output["taskId"] for output in outputs] == [got.json["tasks"][0]["taskId"], got.json["tasks"][4]["taskId"]]


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({"taskInput": "YQ==", "tag": "white space"}, "invalid-attribute"),
        ({"taskInput": "YQ==", "tag": "-x"}, "invalid-attribute"),
        ({"taskInput": "YQ==", "tag": "x" * 129}, "invalid-attribute"),
        ({"taskInput": "YQ==", "taskPriority": 10_001}, "invalid-attribute"),
        ({"taskInput": "YQ==", "taskPriority": 1.5}, "invalid-attribute"),
        ({"taskInput": "YQ==", "timeoutInSec": 0}, "invalid-attribute"),
        ({"taskInput": "YQ==", "isPriorityTask": True}, "invalid-attribute"),
        ({"tag": "no input"}, "invalid-attribute"),
    ],
    ids=str,
)
async def test_a_single_bad_task_is_a_problem(client: Client, owner: ScriptedOwner, task: dict[str, object], code: str) -> None:
    """With nothing good in the request, the answer is a problem document, and nothing is stored."""
    session = await client.session()
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", body={"tasks": [task]}, key="k")
    assert (got.status, got.code) == (400, code)
    assert owner.session.inputs == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Task-Priority": "high"}, "invalid-parameter"),
        ({"Task-Priority": "0"}, "invalid-attribute"),
        ({"Task-Timeout": "nan"}, "invalid-attribute"),
        ({"Task-Timeout": "soon"}, "invalid-parameter"),
        ({"Task-Tag": "white space"}, "invalid-attribute"),
    ],
    ids=str,
)
async def test_bad_headers_of_a_single_task_are_a_problem(client: Client, owner: ScriptedOwner, headers: dict[str, str], code: str) -> None:
    """Attributes in headers are judged as those in bodies are."""
    session = await client.session()
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=b"x", headers=OCTETS | headers, key="k")
    assert (got.status, got.code) == (400, code)
    assert owner.session.inputs == []


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_other_content_types_are_refused(client: Client, owner: ScriptedOwner, media: str) -> None:
    """What HttpURLConnection sends by default is answered 415, not guessed at."""
    session = await client.session()
    got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=b"x=1", headers={"Content-Type": media}, key="k")
    assert (got.status, got.code) == (415, "unsupported-media-type")
    assert owner.session.inputs == []


async def test_malformed_bodies_store_nothing(client: Client, owner: ScriptedOwner) -> None:
    """Truncated, deep and duplicate-keyed bodies end at the door."""
    session = await client.session()
    for media, body in (
        ("application/json", b'{"tasks":[{"taskInput":"YQ==","taskInput":"Yg=="}]}'),
        ("application/json", b"[" * 10_000),
        ("application/json", b'{"tasks":[{"taskInput":"YQ'),
        ("application/msgpack", b"\x81\xa5tasks\x91\x82\xa9taskInput\xc4\x01a\xa9taskInput\xc4\x01b"),
        ("application/msgpack", b"\x91" * 10_000),
        ("application/msgpack", b"\x81\xa5tasks\x91"),
        ("application/msgpack", b""),
    ):
        got = await client.ask("POST", f"/v1/sessions/{session}/tasks", data=body, headers={"Content-Type": media}, key=client.key())
        assert (got.status, got.code) == (400, "malformed-body")
    assert owner.session.inputs == []


async def test_a_thousand_tasks_travel_in_bundles(client: Client, owner: ScriptedOwner) -> None:
    """A bulk arrives whole and in order, in messages below the size of a bundle."""
    session = await client.session()
    payloads = [b"%04d" % number + bytes(1000) for number in range(1000)]
    got = await client.submit(session, *payloads)
    assert got.status == 202
    outputs = await client.fetch_all(session, 1000)
    assert [base64.b64decode(output["output"]) for output in outputs] == payloads
    assert 4 <= len(owner.session.deliveries) <= 8
    assert all(len(delivery.body) <= 260_000 for delivery in owner.session.deliveries)


async def test_many_single_submissions_share_messages(client: Client, owner: ScriptedOwner) -> None:
    """Concurrent requests are bundled while a confirm is pending, and each gets its own answer."""
    session = await client.session()
    answers = await asyncio.gather(*(client.submit(session, b"%d" % number) for number in range(200)))
    assert all(answer.status == 202 for answer in answers)
    outputs = await client.fetch_all(session, 200)
    assert {output["taskId"] for output in outputs} == {answer.json["tasks"][0]["taskId"] for answer in answers}
    assert len(owner.session.deliveries) < 150


async def test_parts_that_were_not_stored_are_told_apart(
    running: RunningGateway, client: Client, owner: ScriptedOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: stored in part is 202 with errors; refused as a whole is 429; unknown is 503."""
    session = await client.session()
    outcomes: list[Exception | None] = []
    publisher = running.parts.publisher
    real = publisher.post

    def post(**message: object) -> asyncio.Future[None]:
        failure = outcomes.pop(0) if outcomes else None
        if failure is None:
            return real(**message)  # type: ignore[arg-type]
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(failure)
        return future

    monkeypatch.setattr(publisher, "post", post)
    big = bytes(260_000)
    for failures, status, code in (
        ([None, RejectedError("full")], 202, "quota-exceeded"),
        ([None, UnconfirmedError("late")], 202, "submission-unknown"),
        ([RejectedError("full"), RejectedError("full")], 429, "quota-exceeded"),
        ([RejectedError("full"), UnconfirmedError("late")], 503, "submission-unknown"),
        ([UnconfirmedError("late"), UnconfirmedError("late")], 503, "submission-unknown"),
    ):
        outcomes[:] = failures
        got = await client.submit(session, big, big)
        assert got.status == status
        found = got.json["tasks"][1]["error"]["code"] if status == 202 else got.code
        assert found == code
        assert "Retry-After" in got.headers or status == 202
    assert owner.session.next <= 3
