"""Acceptance: gateways and bridge workers that die or leave while they work cost a retry, and no output."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from sluiceway import AsyncGateway, GatewayOptions, Output
from sluiceway.stack import Program, Stack
from tests.support.eventually import eventually
from tests.support.gatewaystand import Got
from tests.support.services import order
from tests.support.stack import GRID, Caller, restored

_HANDOVER_SECONDS = 60


async def _owner(stack: Stack, caller: Caller, session: str) -> Program:
    """Return the bridge that owns a session."""

    async def named() -> str:
        return str((await caller.describe(session)).get("owner", ""))

    name = await eventually(named, within=10)
    return next(bridge for bridge in stack.bridges if bridge.announcement["worker"] == name)


async def _reaches(caller: Caller, session: str, sequence: int) -> None:
    async def there() -> bool:
        return bool((await caller.describe(session)).get("lastSequence", 0) >= sequence)

    await eventually(there, within=30)


async def test_a_client_goes_on_when_its_gateway_is_killed_under_its_long_polls(stack: Stack, tmp_path: Path) -> None:
    """The Python client, with a long poll open at a gateway that is killed, gets every output once through the other."""
    gate = tmp_path / "gate"
    options = GatewayOptions(token_file=stack.token_file, ca_file=stack.ca_file, spread=False)
    async with AsyncGateway(stack.urls, options=options) as client:
        connection = await client.connect(grid=GRID, application="orders")
        async with await connection.create_session() as session:
            ids = await session.send([order("echo", text=str(number)) for number in range(10)])
            outputs: list[Output] = []

            async def collect() -> None:
                async for output in session.outputs(count=40):
                    outputs.append(output)  # noqa: PERF401 - the test looks at the list while it grows

            collecting = asyncio.ensure_future(collect())
            await eventually(lambda: len(outputs) == 10, within=20)
            ids += await session.send([order("gate", gate=str(gate), text=str(number)) for number in range(30)])
            await asyncio.wait([collecting], timeout=0.3)
            assert client.address == stack.urls[0]
            with restored(stack, "gateway-1") as [gateway]:
                await asyncio.to_thread(gateway.kill)
                gate.touch()
                async with asyncio.timeout(60):
                    await collecting
                assert client.address == stack.urls[1]
                assert await session.send([order("echo", text="after")])
            assert [output.sequence for output in outputs] == list(range(1, 41))
            assert sorted(output.task_id for output in outputs) == sorted(ids)
            assert all(output.successful for output in outputs)


async def test_a_killed_bridge_costs_no_output(stack: Stack, first: Caller, second: Caller) -> None:
    """The owner is killed while its tasks run: another bridge takes over, and every task has exactly one output, numbered without a gap."""
    session = await first.start("orders")
    sent = await first.submit(session, *(order("slow", seconds=0.01, text=str(number)) for number in range(300)))
    await _reaches(first, session, 20)
    owner = await _owner(stack, first, session)
    with restored(stack, owner.name):
        await asyncio.to_thread(owner.kill)
        later = await second.submit(session, *(order("echo", text=f"later {number}") for number in range(20)))
        assert later.status == 202, later.body
        outputs = await _all(second, session, 320)
        assert await _owner(stack, second, session) is not owner
    ids = [task["taskId"] for task in sent.json["tasks"] + later.json["tasks"]]
    assert [output["sequence"] for output in outputs] == list(range(1, 321))
    assert sorted(str(output["taskId"]) for output in outputs) == sorted(ids)
    assert all(output["successful"] for output in outputs)


async def test_a_bridge_that_is_told_to_stop_hands_its_sessions_over(stack: Stack, first: Caller, second: Caller, tmp_path: Path) -> None:
    """SIGTERM: the worker ends with exit code 0, another goes on, and no task that has an output is run again."""
    runs = tmp_path / "runs"
    session = await first.start("orders")
    sent = await first.submit(session, *(order("slow", seconds=0.02, text=str(number), runs=str(runs)) for number in range(150)))
    await _reaches(first, session, 20)
    owner = await _owner(stack, first, session)
    with restored(stack, owner.name):
        assert await asyncio.to_thread(owner.stop) == 0
        outputs = await _all(second, session, 150)
        assert await _owner(stack, second, session) is not owner
    assert [output["sequence"] for output in outputs] == list(range(1, 151))
    assert sorted(str(output["taskId"]) for output in outputs) == sorted(task["taskId"] for task in sent.json["tasks"])
    noted = Counter(line.split()[1] for line in runs.read_text(encoding="utf-8").splitlines())
    assert noted == Counter({str(number): 1 for number in range(150)})


async def test_inputs_wait_while_no_bridge_is_left(stack: Stack, first: Caller, second: Caller) -> None:
    """With all bridges killed, submissions are still taken; a bridge that comes back gives each its one output, also of a submission sent twice."""
    session = await first.start("orders")
    await first.submit(session, *(order("slow", seconds=0.01, text=str(number)) for number in range(100)))
    await _reaches(first, session, 5)
    with restored(stack, *(bridge.name for bridge in stack.bridges)) as bridges:
        for bridge in bridges:
            await asyncio.to_thread(bridge.kill)
        answers = [await caller.submit(session, order("echo", text="waiting"), key="while-away") for caller in (first, second)]
        assert [answer.status for answer in answers] == [202, 202], answers
        assert answers[0].json == answers[1].json
    outputs = await _all(second, session, 101)
    assert [output["sequence"] for output in outputs] == list(range(1, 102))
    assert len({str(output["taskId"]) for output in outputs}) == 101
    assert (await first.fetch(session, after="", wait=0, count=200)).json["more"] is False


async def test_a_full_lane_is_429_until_a_bridge_takes_from_it(stack: Stack, first: Caller, second: Caller) -> None:
    """With no bridge left a lane fills up: 429 with Retry-After, before that every 202 is kept, and after a bridge came back it takes more."""
    session = await first.start("echo")
    octets = {"Content-Type": "application/octet-stream"}

    async def send(caller: Caller) -> Got:
        return await caller.ask("POST", f"/v1/sessions/{session}/tasks", data=bytes(4 << 20), headers=octets, key=caller.key())

    with restored(stack, *(bridge.name for bridge in stack.bridges)) as bridges:
        for bridge in bridges:
            await asyncio.to_thread(bridge.kill)
        answers = [await send(caller) for caller in (first, second) * 12]
    stored = [answer.json["tasks"][0]["taskId"] for answer in answers if answer.status == 202]
    refused = [answer for answer in answers if answer.status != 202]
    assert len(stored) >= 8
    assert {(answer.status, answer.code) for answer in refused} == {(429, "quota-exceeded")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)

    async def taken() -> str:
        got = await send(second)
        return str(got.json["tasks"][0]["taskId"]) if got.status == 202 else ""

    stored.append(await eventually(taken, within=30))
    outputs = await _all(second, session, len(stored))
    assert sorted(str(output["taskId"]) for output in outputs) == sorted(stored)


async def _all(caller: Caller, session: str, count: int) -> list[dict[str, object]]:
    """Fetch everything from the start, patient through a take-over."""
    outputs: list[dict[str, object]] = []
    cursor = ""
    async with asyncio.timeout(_HANDOVER_SECONDS):
        while len(outputs) < count:
            got = await caller.fetch(session, after=cursor, wait=5, count=1000)
            assert got.status == 200, got.body
            outputs += got.json["outputs"]
            cursor = got.json["cursor"]
    return outputs
