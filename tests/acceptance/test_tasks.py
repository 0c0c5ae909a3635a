"""Acceptance: tasks cross gateways, broker, bridge and grid, and each has exactly one output."""

from __future__ import annotations

import asyncio
import base64

import msgspec

from tests.support.stack import Caller


def _text(output: dict[str, str]) -> bytes:
    return base64.b64decode(output["output"])


async def test_one_task_goes_in_through_one_gateway_and_out_through_the_other(first: Caller, second: Caller) -> None:
    """A task that one gateway took is answered by the other."""
    session = await first.start()
    sent = await first.submit(session, b"a bank's question", tag="desk-7")
    got = await second.fetch(session, wait=10)
    assert sent.status == 202
    assert len(got.json["outputs"]) == 1
    output = got.json["outputs"][0]
    assert output["taskId"] == sent.json["tasks"][0]["taskId"]
    assert (output["sequence"], output["successful"], output["tag"]) == (1, True, "desk-7")
    assert _text(output) == b"a bank's question"


async def test_the_same_cursor_gives_the_same_bytes_at_both_gateways(first: Caller, second: Caller) -> None:
    """Outputs fetched twice with one cursor through two gateways are byte for byte the same, from the start and from the middle."""
    session = await first.start()
    await first.submit(session, *(b"%d" % number for number in range(40)))
    await second.fetch_all(session, 40)
    begin = [await caller.fetch(session, count=15) for caller in (first, second, first)]
    assert begin[0].body == begin[1].body == begin[2].body
    cursor = begin[0].json["cursor"]
    middle = [await caller.fetch(session, after=cursor, count=15) for caller in (second, first)]
    assert middle[0].body == middle[1].body
    assert [output["sequence"] for output in middle[0].json["outputs"]] == list(range(16, 31))


async def test_a_retried_submission_gives_the_same_ids_and_one_output(first: Caller, second: Caller) -> None:
    """The same request three times, also at the other gateway: the same ids, and each task has one output."""
    session = await first.start()
    answers = [await caller.submit(session, b"one", b"two", key="the-same") for caller in (first, first, second)]
    assert [answer.status for answer in answers] == [202, 202, 202]
    assert answers[0].json == answers[1].json == answers[2].json
    await first.submit(session, b"last")
    outputs = await second.fetch_all(session, 3)
    assert [_text(output) for output in outputs] == [b"one", b"two", b"last"]
    assert (await first.describe(session))["lastSequence"] == 3


async def test_a_submission_sent_to_both_gateways_at_once_runs_once(first: Caller, second: Caller) -> None:
    """Twenty copies of one request, spread over both gateways at the same time, end in one output."""
    session = await first.start()
    answers = await asyncio.gather(*(caller.submit(session, b"once", key="at-once") for caller in (first, second) * 10))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    await first.submit(session, b"last")
    assert [_text(output) for output in await first.fetch_all(session, 2)] == [b"once", b"last"]
    assert (await second.fetch(session, wait=0)).json["outputs"][-1]["sequence"] == 2


async def test_a_key_with_another_body_is_refused(first: Caller) -> None:
    """The gateway that knows the key refuses another body with it, and nothing of that body runs."""
    session = await first.start()
    await first.submit(session, b"first", key="reused")
    refused = await first.submit(session, b"second", key="reused")
    await first.submit(session, b"last")
    assert (refused.status, refused.code) == (422, "idempotency-key-reused")
    assert [_text(output) for output in await first.fetch_all(session, 2)] == [b"first", b"last"]


async def test_a_key_with_another_body_at_the_other_gateway_ends_in_a_failed_output(first: Caller, second: Caller) -> None:
    """A gateway that does not know the key cannot refuse: the owner answers with a failed output of a task id of its own."""
    session = await first.start()
    await first.submit(session, b"first", key="reused")
    await first.fetch_all(session, 1)
    other = await second.submit(session, b"second", key="reused")
    assert other.status == 202
    outputs = await second.fetch_all(session, 2)
    assert _text(outputs[0]) == b"first"
    assert outputs[1]["taskId"] == other.json["tasks"][0]["taskId"]
    assert outputs[1]["exception"]["code"] == "idempotency-key-reused"


async def test_bulk_items_succeed_and_fail_by_themselves(first: Caller, second: Caller) -> None:
    """Items of a bulk request that cannot be taken are named one by one; the others run."""
    session = await first.start()
    tasks = [
        {"taskInput": base64.b64encode(b"good").decode()},
        {"taskInput": base64.b64encode(b"bad tag").decode(), "tag": "no spaces"},
        {"taskInput": base64.b64encode(b"bad priority").decode(), "taskPriority": 10_001},
        {"taskInput": base64.b64encode(b"good too").decode(), "taskPriority": 5},
        {"taskInput": base64.b64encode(b"bad time").decode(), "timeoutInSec": -1},
    ]
    sent = await first.ask("POST", f"/v1/sessions/{session}/tasks", body={"tasks": tasks}, key=first.key())
    assert sent.status == 202
    assert [task.get("error", {}).get("code") for task in sent.json["tasks"]] == [None, "invalid-attribute", "invalid-attribute", None, "invalid-attribute"]
    outputs = await second.fetch_all(session, 2)
    good = [task["taskId"] for task in sent.json["tasks"] if "error" not in task]
    assert {output["taskId"]: _text(output) for output in outputs} == dict(zip(good, [b"good", b"good too"], strict=True))


async def test_one_task_as_octet_stream_comes_back_as_bytes(first: Caller, second: Caller) -> None:
    """An input sent as bytes, with its attributes in headers, is fetched as the same bytes by its id at the other gateway."""
    session = await first.start()
    payload = bytes(range(256)) * 40
    headers = {"Content-Type": "application/octet-stream", "Task-Tag": "raw-1", "Task-Priority": "9"}
    sent = await first.ask("POST", f"/v1/sessions/{session}/tasks", data=payload, headers=headers, key=first.key())
    assert sent.status == 202
    task = sent.json["tasks"][0]["taskId"]
    await first.fetch_all(session, 1)
    got = await second.get(f"/v1/sessions/{session}/outputs/{task}")
    assert (got.status, got.headers["Content-Type"], got.headers["Task-Tag"], got.headers["Task-Successful"]) == (
        200,
        "application/octet-stream",
        "raw-1",
        "true",
    )
    assert got.body == payload


async def test_messagepack_carries_payloads_without_base64(first: Caller) -> None:
    """Inputs and outputs go as MessagePack with binary payloads."""
    session = await first.start()
    body = msgspec.msgpack.encode({"tasks": [{"taskInput": b"\x00\xff"}, {"taskInput": b""}]})
    sent = await first.ask("POST", f"/v1/sessions/{session}/tasks", data=body, headers={"Content-Type": "application/msgpack"}, key=first.key())
    assert sent.status == 202
    await first.fetch_all(session, 2)
    got = await first.fetch(session, headers={"Accept": "application/msgpack"})
    assert [output["output"] for output in msgspec.msgpack.decode(got.body)["outputs"]] == [b"\x00\xff", b""]


async def test_a_thousand_tasks_keep_a_gapless_sequence(first: Caller, second: Caller) -> None:
    """A bulk of a thousand, fetched in pages through changing gateways: every task once, numbered 1 to 1000."""
    session = await first.start()
    sent = await first.submit(session, *(b"%d" % number for number in range(1000)))
    outputs: list[dict[str, object]] = []
    cursor = ""
    for turn in range(100):
        got = await (first, second)[turn % 2].fetch(session, after=cursor, count=170, wait=10)
        outputs += got.json["outputs"]
        cursor = got.json["cursor"]
        if len(outputs) >= 1000:
            break
    assert [output["sequence"] for output in outputs] == list(range(1, 1001))
    assert sorted(str(output["taskId"]) for output in outputs) == sorted(task["taskId"] for task in sent.json["tasks"])
